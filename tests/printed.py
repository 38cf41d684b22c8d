"""What commands print, as every command must."""


def assert_one_error_line(captured, message):
    """One line on stderr that holds the message, and nothing else anywhere."""
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
