"""The one exception that means "the input is wrong", as opposed to a defect of the program."""


class InputError(Exception):
    """A file, key or value that the user gave cannot be used.

    The message is one line: it names the file, key or value and says what to do about it.
    """
