"""What the checkers of this folder share: their command line and the form of their findings."""
import sys
from pathlib import Path


def main(check):
    """Runs check(root) -> [(path, line, error)] on the repository named on the command line, or on
    this one; prints "path:line: error" of each; the exit code."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    errors = check(root)
    for where, line, error in errors:
        print(f"{where}:{line}: {error}")
    return 1 if errors else 0
