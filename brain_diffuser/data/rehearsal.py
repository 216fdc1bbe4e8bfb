"""The inputs of a rehearsal: files in the layout of NSD and random networks, which rules/data/rehearsal.smk writes."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from brain_diffuser.data import nsd
from brain_diffuser.data.adapter import Config

N_TRIALS = 750


class Settings(BaseModel):
    """What `datasets.rehearsal.settings` says.

    Parameters
    ----------
    n_train, n_test : int
        The stimuli of each split that the one session shows, all equally often: their sum divides 750.
    size : str
        published: networks and volumes have their published sizes. small: they take seconds, to try the rehearsal.
    seed : int
        Of all random numbers.
    """

    model_config = ConfigDict(extra="forbid")

    n_train: Annotated[int, Field(ge=2, le=200)]
    n_test: Annotated[int, Field(ge=2, le=200)]
    size: Literal["published", "small"]
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _divides_a_session(self) -> Self:
        """Raises ValueError: a session cannot show all stimuli equally often."""
        n_stimuli = self.n_train + self.n_test
        if N_TRIALS % n_stimuli:
            raise ValueError(f"n_train + n_test is {n_stimuli}, which does not divide the {N_TRIALS} of a session")
        return self


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split."""
    return config.paths.settings[f"n_{split}"]


def n_sessions(config: Config) -> int:
    """One session."""
    return 1


ADAPTER = nsd.ADAPTER._replace(
    n_stimuli=n_stimuli,
    n_sessions=n_sessions,
    settings_model=Settings,
    written=("nsd", "captions", "vdvae", "versatile_diffusion", "clip"),
    rules="rehearsal",
    disclaimer="random betas and random networks of the published sizes; there is nothing to see in these images",
)
