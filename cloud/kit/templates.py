"""HTML templates that lie beside the code that fills them: for documents and e-mail, which are no pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def template_beside(file: str, name: str) -> Template:
    """The template `name` in the folder of the module whose `__file__` is given; what it shows is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(file).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
