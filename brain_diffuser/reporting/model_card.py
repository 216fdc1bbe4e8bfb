"""The model card of a run: what was trained on what, what it is for, and where it ends."""

from brain_diffuser.reporting import methods


def text(facts: methods.Facts, dataset: str) -> str:
    """The card in Markdown.

    Parameters
    ----------
    facts : Facts
        What the methods are written from.
    dataset : str
        The name of the dataset in config.yaml.
    """
    recon = facts.settings["recon"]
    subjects = "; ".join(f"{each.name}: {each.n_train:,} stimuli, {each.n_voxels:,} voxels" for each in facts.subjects)
    lines = [f"# Model card: decoders of dataset {dataset}", ""]
    if facts.is_simulated:
        lines += [f"> **{methods.DEMO}**", ""]
    elif facts.disclaimer:
        lines += [f"> **{facts.disclaimer}**", ""]
    brain = "a simulated brain" if facts.is_simulated else "one person's brain, in one mask"
    networks = (
        "The frozen networks are the project's own small ones, trained on generated scenes (demo/models in the "
        "project)."
        if facts.is_simulated
        else "The frozen networks were trained by others on data of their own, and what they know of the world, its "
        "biases with it, is in every image."
    )
    lines += [
        "## What it is",
        "",
        "One ridge regression for each subject and feature, from betas to VDVAE latents, CLIP-text and CLIP-vision. "
        "Two frozen networks, which were not trained or tuned here, turn what it decodes into images: a VDVAE and "
        f"Versatile Diffusion ({recon['steps']} steps, strength {recon['strength']:g}, guidance scale "
        f"{recon['guidance_scale']:g}). methods.md has the settings and the references.",
        "",
        "## Trained on",
        "",
        f"{subjects}. Test stimuli were not trained on. {networks}",
        "",
        "## Intended use",
        "",
        "Research on what visual responses carry: comparing decoders, regions, stimuli and amounts of data. The "
        "scores of this folder hold for its subjects and test stimuli.",
        "",
        "## Not for",
        "",
        f"- Anybody else: a decoder fits {brain}; without training data of a person it says nothing of that person.",
        "- Reading minds: it decodes responses to images that a person looked at, with their cooperation, averaged "
        "over repeats.",
        "- Evidence of what somebody saw: details of an image that no response determines are the networks' invention.",
        "- Decisions about people, in courts, clinics or elsewhere.",
        "",
        "## Limits",
        "",
        "- A convincing image is no correct image. Read scores beside the shuffled pairing and the ceilings "
        "(docs/evaluation.md of the project), and look at unselected images.",
        "- Test stimuli that resemble training stimuli are decoded better than others.",
        "- Intervals are over stimuli, not over people.",
        "",
        "## What is in the folder, and what is not",
        "",
        "Decoded images, scores, settings and receipts are here; betas, stimuli, captions and the networks are not. "
        "The decoders themselves are made again from the dataset with the settings in code/config.json.",
        "",
    ]
    return "\n".join(lines)
