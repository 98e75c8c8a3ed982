"""Fitting: runs and a form in, a certified law with its uncertainty out."""

from scalefit.fitting.again import limits
from scalefit.fitting.files import beside, load, newest, save
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Certificate, Domain, Fit, Interval, Point, Scan, Score, Status

__all__ = [
    "Certificate",
    "Domain",
    "Fit",
    "Interval",
    "Point",
    "Scan",
    "Score",
    "Status",
    "beside",
    "fit",
    "limits",
    "load",
    "newest",
    "save",
]
