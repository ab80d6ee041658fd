"""Renders self-contained HTML pages, which load nothing from the network or from other files."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PAGE_FOLDER = Path(__file__).parent


def render(template: Path, **values: object) -> str:
    """Renders a template that extends training/report/page.html. The values are escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, PAGE_FOLDER]),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    return environment.get_template(template.name).render(**values)
