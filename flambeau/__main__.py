"""`python -m flambeau script.py`: run a PyTorch program on flambeau."""

import sys

from flambeau.runner import main

if __name__ == "__main__":
    sys.exit(main())
