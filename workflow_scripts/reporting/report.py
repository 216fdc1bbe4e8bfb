"""The report of all subjects, and the table of what their jobs took."""

from pathlib import Path

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import stimulus_names
from brain_diffuser.reporting import figures, methods, page, score_tables
from brain_diffuser.workflow import resource_usage
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, outputs = snakemake.input, snakemake.params, snakemake.output
    label, about = score_tables.DatasetLabel(*params.dataset_label), dict(params.about)
    sessions, versions = about.pop("sessions"), page.installed_versions()
    subjects = [
        page.subject(
            name,
            **{key: Path(inputs[key][place]) for key in page.SUBJECT_INPUTS},
            penalties=[path for path in map(Path, inputs.penalties) if path.parent.parent.name == name],
            id_name="NSD" if label == score_tables.NSD else "stimulus",
            names=stimulus_names.read(inputs.names[place] if inputs.names else ""),
            images={
                images: (Path(inputs[f"images_{images}"][place]), Path(inputs[f"manifest_{images}"][place]))
                for images in params.columns
            },
        )
        for place, name in enumerate(params.subjects)
    ]
    facts = methods.Facts(
        settings=params.settings,
        subjects=[
            methods.subject(Path(path).parent.parent, sessions.get(name, 0))
            for name, path in zip(params.subjects, inputs.design, strict=True)
        ],
        versions={name: version for name, version in versions.items() if name != page.PROJECT},
        program=versions[page.PROJECT],
        has_tests=bool(inputs.significance),
        **about,
    )
    costs = resource_usage.costs(Path(outputs.page).parent, params.subjects)
    costs = [cost for cost in costs if cost.stage != "report"]  # that of an earlier page
    with hdf5.atomic(outputs.costs) as partial, open(partial, "w", encoding="utf-8") as file:
        resource_usage.write_csv(file, costs)
    page.write(
        outputs.page,
        outputs.figures,
        dataset_label=label,
        subjects=subjects,
        facts=facts,
        metrics=params.metrics,
        settings=params.settings,
        versions=versions,
        edges=[tuple(edge) for edge in params.edges],
        costs=costs,
        **{
            section: {Path(folder).parent.name: figures.of_folder(folder, captions) for folder in inputs[section]}
            for section, captions in figures.SECTIONS.items()
        },
    )
