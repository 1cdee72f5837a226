"""``python -m wsi``, which ``torchrun -m wsi train ...`` needs."""

from wsi.cli import main

if __name__ == "__main__":
    main()
