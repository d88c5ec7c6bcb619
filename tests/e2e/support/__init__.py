"""What the tests from outside share."""
