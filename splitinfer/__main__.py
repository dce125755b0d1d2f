"""`python -m splitinfer`."""

from splitinfer.cli import main

if __name__ == "__main__":
    main()
