"""Test the layer calls of ECR, and that images are unpacked safely."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request

import pytest
from botocore.exceptions import ClientError

from kit.local.ecr import ImageUnusable, layers
from kit.local.ecr.base_image import MANIFEST_TYPE


def tar(*entries: tuple[tarfile.TarInfo, bytes], compress: bool = True) -> bytes:
    """A layer of these entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w") as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def file(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    return info, content


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(scope="module")
def ecr(cloud):
    return cloud.client("ecr")


@pytest.fixture
def repository(ecr, request) -> str:
    name = request.node.name.replace("_", "-")[:60].strip("-")
    ecr.create_repository(repositoryName=name)
    return name


def upload(ecr, repository: str, content: bytes, *, part_bytes: int = 1 << 20, claim: str = "") -> str:
    upload_id = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    for first in range(0, len(content), part_bytes):
        part = content[first : first + part_bytes]
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=upload_id, partFirstByte=first,
            partLastByte=first + len(part) - 1, layerPartBlob=part,
        )  # fmt: skip
    done = ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload_id, layerDigests=[claim or digest(content)]
    )
    return done["layerDigest"]


def refused(call, **arguments) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_a_layer_is_available_after_its_upload_and_comes_back_unchanged(ecr, repository):
    content = b"layer " * 1000
    asked = {"repositoryName": repository, "layerDigests": [digest(content)]}
    before = ecr.batch_check_layer_availability(**asked)["layers"][0]
    upload(ecr, repository, content, part_bytes=999)
    after = ecr.batch_check_layer_availability(**asked)["layers"][0]
    assert (before["layerAvailability"], after["layerAvailability"]) == ("UNAVAILABLE", "AVAILABLE")
    assert after["layerSize"] == len(content)
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest(content))["downloadUrl"]
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == content


def test_a_layer_with_another_digest_is_refused(ecr, repository):
    """A torn upload must not become an image."""
    with pytest.raises(ClientError, match="InvalidLayerException"):
        upload(ecr, repository, b"content", claim=digest(b"other"))


def test_parts_must_follow_each_other(ecr, repository):
    upload_id = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    part = {"repositoryName": repository, "uploadId": upload_id, "layerPartBlob": b"xx"}
    assert refused(ecr.upload_layer_part, **part, partFirstByte=5, partLastByte=6) == "InvalidLayerPartException"


def test_a_second_upload_of_a_layer_is_refused(ecr, repository):
    upload(ecr, repository, b"content")
    with pytest.raises(ClientError, match="LayerAlreadyExistsException"):
        upload(ecr, repository, b"content")


def test_an_unknown_upload_and_repository_are_named(ecr, repository):
    assert refused(ecr.initiate_layer_upload, repositoryName="nobody") == "RepositoryNotFoundException"
    done = {"uploadId": "00000000-0000-4000-8000-000000000000", "layerDigests": [digest(b"")]}
    assert refused(ecr.complete_layer_upload, repositoryName=repository, **done) == "UploadNotFoundException"


def test_an_image_needs_its_layers(ecr, repository):
    manifest = json.dumps({"schemaVersion": 2, "layers": [{"digest": digest(b"absent"), "size": 6}]})
    call = {"repositoryName": repository, "imageManifest": manifest, "imageTag": "x"}
    assert refused(ecr.put_image, **call) == "LayersNotFoundException"


def test_an_image_with_another_digest_is_refused(ecr, repository):
    call = {"repositoryName": repository, "imageManifest": '{"layers": []}', "imageDigest": digest(b"other")}
    assert refused(ecr.put_image, **call) == "ImageDigestDoesNotMatchException"


def test_the_same_image_and_tag_twice_is_refused(ecr, repository):
    call = {"repositoryName": repository, "imageManifest": '{"layers": []}', "imageTag": "x"}
    ecr.put_image(**call)
    assert refused(ecr.put_image, **call) == "ImageAlreadyExistsException"
    ecr.put_image(**{**call, "imageTag": "y"})


def test_the_base_image_is_this_machines_python(ecr):
    """The build starts from it, as from a real base image."""
    found = ecr.batch_get_image(
        repositoryName="paperbroker-base", imageIds=[{"imageTag": "latest"}], acceptedMediaTypes=[MANIFEST_TYPE]
    )["images"][0]
    manifest = json.loads(found["imageManifest"])
    assert manifest["layers"] == []
    url = ecr.get_download_url_for_layer(repositoryName="paperbroker-base", layerDigest=manifest["config"]["digest"])
    with urllib.request.urlopen(url["downloadUrl"], timeout=5) as answer:
        assert json.load(answer)["rootfs"]["diff_ids"] == []


# ---- layers onto disk ----


@pytest.mark.parametrize("compress", [True, False])
def test_files_are_unpacked_readable_and_not_writable_by_others(tmp_path, compress):
    layers.extract(tar(file("app/a.py", b"code"), compress=compress), tmp_path, layers.Budget("i"))
    assert (tmp_path / "app/a.py").read_bytes() == b"code"
    assert (tmp_path / "app/a.py").stat().st_mode & 0o777 == 0o644


def test_a_later_layer_replaces_and_whites_out(tmp_path):
    budget = layers.Budget("i")
    layers.extract(tar(file("a", b"old"), file("b"), file("d/x"), file("d/y"), file("e/z")), tmp_path, budget)
    layers.extract(tar(file("a", b"new"), file(".wh.b"), file("d/.wh..wh..opq"), file(".wh.e")), tmp_path, budget)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "d"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_links_inside_are_kept(tmp_path):
    entries = [file("d/a", b"x"), link("d/s", "a"), link("h", "d/a", tarfile.LNKTYPE)]
    layers.extract(tar(*entries), tmp_path, layers.Budget("i"))
    assert (tmp_path / "d/s").read_bytes() == (tmp_path / "h").read_bytes() == b"x"


@pytest.mark.parametrize(
    "entries",
    [
        [file("../out")],
        [file("/out")],
        [link("s", "/etc"), file("s/out")],
        [link("s", "../..")],
        [link("h", "../secret", tarfile.LNKTYPE)],
        [link("fifo", "", tarfile.FIFOTYPE)],
    ],
    ids=["parent", "absolute", "through-link", "link-out", "hard-link-out", "pipe"],
)
def test_nothing_leaves_the_root(tmp_path, entries):
    """An image comes from a registry: its paths are not trusted."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("s")
    with pytest.raises(ImageUnusable):
        layers.extract(tar(*entries), root, layers.Budget("i"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]


def test_an_image_that_would_fill_the_disk_is_refused(tmp_path):
    with pytest.raises(ImageUnusable, match="more than"):
        layers.extract(tar(file("a", b"x" * 100)), tmp_path, layers.Budget("i", bytes_left=99))


def test_a_torn_layer_is_refused(tmp_path):
    with pytest.raises(ImageUnusable, match="cannot be unpacked"):
        layers.extract(tar(file("a", b"x" * 5000))[:60], tmp_path, layers.Budget("i"))
