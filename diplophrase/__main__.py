"""`python -m diplophrase`: the command of this installation, wherever PATH leads."""

from diplophrase.command import main

main()
