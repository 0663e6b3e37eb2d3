"""Reach the AWS of a run, and bring PaperBroker up on it: build, push, stack."""

from __future__ import annotations

from kit import aws, build, deploy
from kit.aws.client_errors import ClientSource
from kit.files import write_text
from kit.gameday.commands import standing_cloud
from kit.gameday.evidence import TEMPLATE
from kit.gameday.parameters import CHANGES, SOURCE, Parameters
from kit.model import Deployment
from kit.scenarios import Scenario

DEPLOY_TIMEOUT_S = 900


def connect(p: Parameters) -> tuple[aws.Session, aws.LocalCloud | None]:
    """Return a session, and the local AWS that was started for the run if the target is one and none was up."""
    if p.target != "local":
        return aws.session(target=p.target, region=p.region), None
    if (standing := standing_cloud()) is not None:
        return standing.session(), None
    cloud = aws.start_local(port=p.port, seed=p.seed, region=p.region)
    return cloud.session(), cloud


def deploy_build(session: ClientSource, scenario: Scenario, image: build.Image, p: Parameters) -> Deployment:
    """Bring the stack of an image up, wait until it is ready, and keep its template in the run's folder."""
    template = p.run_dir / TEMPLATE
    write_text(template, build.changed_template(SOURCE, p.change or None, CHANGES))
    return deploy.deploy(
        session,
        image_uri=image.uri,
        run_id=p.run_id,
        template=template,
        parameters=scenario.stack_parameters(fault_duration_s=p.fault_duration_s),
        timeout_s=DEPLOY_TIMEOUT_S,
    )


def push_build(session: ClientSource, p: Parameters) -> build.Image:
    """Build the tree with the run's change, and push it."""
    return build.build_image(session, source=SOURCE, change=p.change or None, changes_dir=CHANGES)
