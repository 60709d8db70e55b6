"""Where in a configuration file something stands: for messages about values, hooks and exceptions."""

import ast
import os
import traceback


# Python's own modules: that a KeyError comes from os.py helps nobody.
LIBRARY = os.path.dirname(os.__file__) + os.sep


def of_error(path, error):
    """`(line, column or None, elsewhere or None)` of an exception that left the file at `path`, or None. `elsewhere` is the place that
    raised it, where that is in another file of the user's."""
    if isinstance(error, SyntaxError) and same(error.filename, path) and error.lineno:
        return error.lineno, error.offset, None
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [line for name, line in frames if same(name, path)]
    if not ours:
        return None
    name, line = frames[-1]
    told = same(name, path) or name.startswith(("<", LIBRARY))
    return ours[-1], None, None if told else "%s:%d" % (name, line)


def trimmed(path, error):
    """The traceback, from the file on."""
    trace = error.__traceback__
    while trace is not None and not same(trace.tb_frame.f_code.co_filename, path):
        trace = trace.tb_next
    if trace is None and not isinstance(error, SyntaxError):
        trace = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, trace))


def same(name, path):
    return bool(name) and (name == path or os.path.realpath(name) == os.path.realpath(path))


def of_values(path, raw):
    """The line of each value's name in the file, as far as it can be told by looking at it."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except Exception:
        return {}
    found = Assigned()
    found.visit(tree)
    lines = {name: likeliest(found.places.get(name, ()), value) for name, value in raw.items()}
    return {name: line for name, line in lines.items() if line}


def likeliest(places, value):
    """Of several assignments the last one, unless an earlier one wrote the very value: the last may stand in a branch not taken."""
    for line, node in reversed(places):
        try:
            if node is not None and ast.literal_eval(node) == value:
                return line
        except Exception:
            pass
    return places[-1][0] if places else None


class Assigned(ast.NodeVisitor):
    """Collects what the module's own statements bind: `places[name]` is a list of `(line, value or None)`."""

    def __init__(self):
        self.places = {}

    def bind(self, target, line, value=None):
        if isinstance(target, ast.Name):
            self.places.setdefault(target.id, []).append((line, value))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self.bind(item, item.lineno)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, line)

    def visit_Assign(self, node):
        for target in node.targets:
            self.bind(target, node.lineno, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.bind(node.target, node.lineno, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self.bind(node.target, node.lineno)
        self.generic_visit(node)

    def visit_NamedExpr(self, node):
        self.bind(node.target, node.lineno, node.value)
        self.generic_visit(node)

    def visit_For(self, node):
        self.bind(node.target, node.lineno)
        self.generic_visit(node)

    def visit_With(self, node):
        for item in node.items:
            if item.optional_vars is not None:
                self.bind(item.optional_vars, node.lineno)
        self.generic_visit(node)

    def visit_Import(self, node):
        for name in node.names:
            bound = name.asname or name.name.partition(".")[0]
            self.places.setdefault(bound, []).append((node.lineno, None))

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node):
        # What it binds is its own.
        self.places.setdefault(node.name, []).append((node.lineno, None))

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node):
        pass
