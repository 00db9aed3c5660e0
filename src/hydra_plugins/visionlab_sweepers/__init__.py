"""The Hydra sweeper and launchers of visionlab, thin: the work is in visionlab.sweeps."""


def register() -> None:
    """Make the plugins known to Hydra, whose own search does not see into an editable install."""
    from hydra.core.plugins import Plugins

    from hydra_plugins.visionlab_sweepers import launchers, sweeper

    for plugin in (
        sweeper.VisionlabSweeper,
        launchers.SequentialLauncher,
        launchers.ParallelLauncher,
        launchers.SlurmLauncher,
    ):
        Plugins.instance().register(plugin)
