"""`python -m staticnet`: the same as the command `staticnet`."""

import sys

from staticnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
