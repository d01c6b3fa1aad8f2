"""The one exception that means: what the user gave is wrong, and here is the mend."""


class InputError(ValueError):
    """The user's input cannot be used.

    The message names the file or the field and says what to do about it, in one line (or
    one line per bad file). The command line prints it without a traceback and exits with
    status 2.
    """
