#!/usr/bin/env bash
# Does what the Dockerfile says in an empty temporary folder, for machines without an engine:
# copies the same files, installs the same requirement, starts the same command with the same
# environment on a free port, waits with the same health check, and ends it with SIGTERM.
# PYTHON chooses the interpreter. Needs the network or a local package index, as pip is set up.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
ready_seconds=${READY_SECONDS:-90}
stop_seconds=${STOP_SECONDS:-40}
work=$(mktemp -d)
image=$work/image # stands for the root of the image's file system
server=

clean_up() {
    if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    echo "failed: $1" >&2
    exit 1
}

# Sets the array $1 to the lines of the part $2 of the Dockerfile, its folders moved to $image.
read_part() {
    local lines
    lines=$("$python" "$root/tests/unit/dockerfile.py" "$root/Dockerfile" "$2")
    lines=${lines//\/opt\//$image/opt/}
    mapfile -t "$1" <<<"${lines//\/srv\//$image/srv/}"
}

alive() { kill -0 "$server" 2>/dev/null; }

read_part sources sources
read_part requirement requirement
read_part environment environment
read_part folder folder
read_part command command
read_part health health

echo "1. copy: ${sources[*]}"
mkdir -p "$work/src" "$image/opt" "${folder[0]}/state"
tar -C "$root" --exclude=__pycache__ --exclude='models/.*' -cf - "${sources[@]}" |
    tar -C "$work/src" -xf -
mv "$work/src/models" "${folder[0]}/models"

echo "2. install: ${requirement[0]}"
"$python" -m venv "$image/opt/venv"
(cd "$work/src" && "$image/opt/venv/bin/pip" install -qq "${requirement[0]}")

echo "3. torch and transformers are absent"
cd "${folder[0]}"
"$image/opt/venv/bin/python" - <<'PROGRAM' || fail "a training library is in the image"
import importlib.util
import sys

heavy = ("torch", "transformers", "datasets", "sklearn")
sys.exit(", ".join(name for name in heavy if importlib.util.find_spec(name)) or 0)
PROGRAM

echo "4. start: ${command[*]}"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
for row in "${!environment[@]}"; do
    environment[row]=${environment[row]//\$PATH//usr/bin:/bin}
done
environment+=("DIPLOPHRASE_PORT=$port")
env -i "${environment[@]}" "${command[@]}" &
server=$!

echo "5. wait for the health check"
deadline=$((SECONDS + ready_seconds))
until env -i "${environment[@]}" "${health[@]}" 2>/dev/null; do
    alive || fail "the server ended before it was ready"
    [ "$SECONDS" -lt "$deadline" ] || fail "not ready within $ready_seconds s"
    sleep 0.5
done

echo "6. one sentence gets one result"
env -i "${environment[@]}" python - <<'PROGRAM' || fail "no result for one sentence"
import json
import os
import urllib.request

address = f"http://127.0.0.1:{os.environ['DIPLOPHRASE_PORT']}/v1/classify"
body = json.dumps({"texts": ["Both sides agreed to meet again."]}).encode()
request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(request, timeout=30) as answer:
    assert len(json.load(answer)["results"]) == 1
PROGRAM

echo "7. SIGTERM ends it with exit code 0"
kill -TERM "$server"
deadline=$((SECONDS + stop_seconds))
while alive; do
    [ "$SECONDS" -lt "$deadline" ] || fail "still running $stop_seconds s after SIGTERM"
    sleep 0.2
done
code=0
wait "$server" || code=$?
server=
[ "$code" -eq 0 ] || fail "exit code $code after SIGTERM"
echo "all steps passed"
