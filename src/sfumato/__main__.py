"""`python -m sfumato`, and `accelerate launch -m sfumato`."""

from sfumato.cli import main

main()
