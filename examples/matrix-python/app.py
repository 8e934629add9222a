"""A function that solves linear equations and finds eigenvalues with NumPy, from Debian's package python3-numpy."""

import numpy


def handler(event, context):
    matrix = numpy.array(event["matrix"], dtype=float)
    answer = {"determinant": rounded(numpy.linalg.det(matrix))}
    if "right" in event:
        answer["solution"] = rounded(numpy.linalg.solve(matrix, numpy.array(event["right"], dtype=float)))
    if event.get("eigenvalues"):
        answer["eigenvalues"] = rounded(sorted(numpy.linalg.eigvals(matrix).real))
    return answer


def rounded(value):
    # Another processor's last digits may differ; -0.0 is 0.
    return (numpy.round(value, 6) + 0.0).tolist()
