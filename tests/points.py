"""At which calls a sweep of faults strikes: at all of them with --long; in the ordinary run ever further apart, and further still where the program is built with
sanitizers: that build goes the same ways, several times slower, and other points there are more than the same ones again."""
from tutti_process import is_sanitized


def after(nth: int, is_long: bool, factor: int = 2) -> int:
    """The point behind `nth`: 1, 3, 7, 15, 31, 63; with sanitizers 1, 5, 21, 85."""
    return nth + 1 if is_long else nth * factor * (2 if is_sanitized() else 1) + 1
