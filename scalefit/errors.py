"""What can go wrong, said in one sentence: what happened, where, and what to do about it."""


class ScalefitError(Exception):
    """Base of every error a user can cause or mend; the message is the way out."""


class DataError(ScalefitError):
    """The runs table cannot be read, or holds values that no fit may use."""


class FitError(ScalefitError):
    """These runs cannot determine this law."""


class PlanError(ScalefitError):
    """No plan answers this question."""


class GridError(ScalefitError):
    """A grid file asks for something that cannot be trained."""


class QuantityError(ScalefitError, ValueError):
    """A text is not an amount of compute, parameters or tokens."""


class StudyError(ScalefitError):
    """A study cannot be run as asked."""
