"""Input and parameter functions of the rules of the report."""


def of_regions():
    """The folders of the section on regions: of every subject, and of their average."""
    if not cfg.report.regions:
        return []
    average = ["<results>/average/roi"] if len(cfg.subjects) > 1 else []
    return of_subjects("<results>/{subject}/roi") + average


def of_guidance():
    """The folders of the section on guidance."""
    return of_subjects("<results>/{subject}/guidance") if cfg.report.guidance else []


def of_generalisation():
    """The folders of the section on further splits."""
    return of_subjects("<results>/{subject}/generalisation") if cfg.splits else []
