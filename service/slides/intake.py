"""From a file that arrived, or lies on a shared mount, to a slide of the service."""

import hashlib
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from service.errors import DiskFullError, ExternallyManagedError, ForbiddenPathError
from service.settings import Settings
from service.slides.archive import is_zip, unpack
from service.slides.check import SlideFacts, check_in_process
from service.slides.multipart import Upload
from service.slides.repository import SlideRepository, StoredSlide
from service.slides.resolution import accepted_mpp
from service.slides.staging import publish, staging_folder
from service.slides.stripping import replace_by_stripped, stripped
from wsi.errors import ChangedSlideError, SlideError, UnreadableSlideError
from wsi.geometry import Size
from wsi.slides.folder import name_of
from wsi.slides.identity import slide_digest, slide_stamp
from wsi.slides.registered import Registered, changed_at, content_sha256, require_registered
from wsi.slides.resolution import settle
from wsi.storage.slide_cache import SCHEME, SlideCache, is_object
from wsi.storage.store import remove_store


class Intake:
    """Takes slides in: each checked in a process of its own, stored whole or not at all."""

    def __init__(self, settings: Settings, slides: SlideRepository, cache: SlideCache) -> None:
        self._settings = settings
        self._uid_key = settings.strip_uid_key.get_secret_value()
        self._slides = slides
        self._cache = cache

    def require_room(self, size_bytes: int) -> None:
        """Refuse early what cannot fit. Raises ``DiskFullError``."""
        free = shutil.disk_usage(self._settings.incoming).free
        if size_bytes > free:
            raise DiskFullError(
                f"the upload of {size_bytes} bytes does not fit: {free} bytes are free"
            )

    def take(
        self, upload: Upload, mpp: float | None, *, force_mpp: bool = False, strip: bool = False
    ) -> tuple[StoredSlide, bool]:
        """Store an uploaded slide; returns it and whether it is new.

        Args:
            upload: what has arrived.
            mpp: micrometres per level-0 pixel, where the file states none.
            force_mpp: ``mpp`` counts also where the file states another one.
            strip: store a copy without label and macro images, as ``settings.strip_labels`` does.

        Raises:
            SlideError: it is no readable slide, or labels cannot be removed from its format.
            MppError: ``mpp`` contradicts what the file states.
            ExternallyManagedError: it was registered in place, so it cannot be stripped.
        """
        strip = strip or self._settings.strip_labels
        known = self._known(upload.sha256, mpp, force_mpp=force_mpp)
        if known is not None and not self._is_lost(known):
            return self.redact(known) if strip else known, False
        staged = upload.path.parent / "slide"
        staged.mkdir()
        if is_zip(upload.path):
            entry = unpack(
                upload.path,
                staged,
                name=upload.name,
                max_bytes=self._settings.max_unpacked_bytes,
                max_files=self._settings.max_unpacked_files,
            )
        else:
            entry = upload.path.rename(staged / upload.path.name)
        facts = self._check(entry, upload.name)
        entry = Path(facts.entry)
        mpp = _accepted(upload.name, facts, mpp, force=force_mpp)
        if strip:
            staged, entry = stripped(staged, entry, upload.name, uid_key=self._uid_key)
        slide_id = str(uuid.uuid4()) if known is None else known.id
        folder = self._folder(slide_id)
        slide = self._row(
            slide_id, upload.name, upload.sha256, upload.size_bytes, facts, mpp,
            str(folder / entry.relative_to(staged)),
        )  # fmt: skip
        if strip:
            sha256, _ = _digest(entry)
            slide = replace(slide, stripped_sha256=sha256, stripped_at=slide.created_at)
        publish(staged, folder)
        # The row comes last: what a crash leaves is a folder that nobody knows, not a broken row.
        try:
            if known is None:
                stored = self._slides.add(slide)
            else:
                stored = self._slides.moved(slide_id, slide.path)
                if slide.stripped_sha256:
                    stored = self._slides.was_stripped(slide_id, slide.stripped_sha256)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if stored.id != slide.id:
            shutil.rmtree(folder, ignore_errors=True)
        return stored, known is None and stored.id == slide.id

    def register(
        self, place: str, mpp: float | None, *, force_mpp: bool = False
    ) -> tuple[StoredSlide, bool]:
        """Take in a slide where it lies; returns it and whether it is new.

        Args:
            place: a path, or the URL of an object: that one stays where it is, and this machine
                reads it through its cache.
            mpp: micrometres per level-0 pixel, where the file states none.
            force_mpp: ``mpp`` counts also where the file states another one.

        Raises:
            MppError: ``mpp`` contradicts what the file states.
            ForbiddenPathError: it lies outside the places that may be registered.
            SlideUnavailableError: the object storage does not answer at present.
            ChangedSlideError: it was written to meanwhile.
            SlideError: it is no readable slide.
        """
        if is_object(place):
            name = PurePosixPath(place).name
            place = self._cache.address(self.require_allowed_object(place))
        else:
            path = self.require_allowed(Path(place))
            name, place = _name_of(path), str(path)
        with self._cache.local(place) as file:
            stamp = None if is_object(place) else slide_stamp(file)
            try:
                sha256, size_bytes = content_sha256(file) if stamp else _digest(file)
            except OSError as error:
                raise UnreadableSlideError(
                    name, f"the file cannot be read: {error.strerror or error}"
                ) from error
            known = self._slides.by_sha256(sha256)
            facts = self._check(file, name) if known is None else None
            # After the check, which bears what would hurt this process.
            digest = slide_digest(file) if stamp else None
            if stamp and slide_stamp(file) != stamp:
                raise ChangedSlideError(
                    name, "it changed while it was being registered; try again when it is complete"
                )
        if known is not None:
            if not self.owns(known):
                # The same content, written anew or elsewhere: what is registered last is there.
                known = self._slides.moved(known.id, place, digest=digest, stamp=stamp)
            return self._given(known, mpp, force_mpp=force_mpp), False
        assert facts is not None
        mpp = _accepted(name, facts, mpp, force=force_mpp)
        slide = self._row(str(uuid.uuid4()), name, sha256, size_bytes, facts, mpp, place)
        stored = self._slides.add(replace(slide, digest=digest, stamp=stamp))
        return stored, stored.id == slide.id

    def require_allowed_object(self, url: str) -> str:
        """The URL of an object that may be registered. Raises ``ForbiddenPathError``."""
        # Servers and libraries read these signs in ways of their own: as the way up, as a version
        # of the object, as the end of its name.
        odd = set(url.removeprefix(SCHEME).split("/")) & {"", ".", ".."}
        if odd or any(char in "?#*\\" or not char.isprintable() for char in url):
            raise ForbiddenPathError(
                "an object's address must not contain empty, '.' or '..' parts or any of ? # * \\"
            )
        if not url.startswith(self._settings.slide_prefixes):
            raise ForbiddenPathError(
                f"{url} is not below a prefix that may be registered (WSI_SLIDE_PREFIXES)"
            )
        return url

    def require_allowed(self, path: Path) -> Path:
        """The real place of a path that may be registered. Raises ``ForbiddenPathError``."""
        try:
            path = path.resolve()
        # A NUL in the name, a name too long, links in a circle.
        except (ValueError, OSError, RuntimeError) as error:
            raise ForbiddenPathError(f"this path is not valid: {error}") from None
        roots = [root.resolve() for root in self._settings.slide_roots]
        if not any(path.is_relative_to(root) for root in roots):
            raise ForbiddenPathError(
                f"{path} is not below a folder that may be registered (WSI_SLIDE_ROOTS)"
            )
        return path

    def redact(self, slide: StoredSlide) -> StoredSlide:
        """Take label and macro images out of the stored copy; done already, it stays as it is.

        Raises:
            ExternallyManagedError: the slide is registered where it lies.
            SlideError: labels cannot be removed from its format.
        """
        if slide.stripped_sha256 is not None:
            return slide
        if not self.owns(slide):
            raise ExternallyManagedError(
                f"{slide.name}: this file was registered in place, so the service does not change "
                "it; make a copy with 'wsi strip-labels' and register that"
            )
        with staging_folder(self._settings.incoming) as staging:
            replace_by_stripped(
                slide.file, self._folder(slide.id), staging, slide.name, uid_key=self._uid_key
            )
        sha256, _ = _digest(slide.file)
        return self._slides.was_stripped(slide.id, sha256)

    def discard(self, slide: StoredSlide) -> None:
        """Remove the stored copy and all that was derived from it; a registered file stays.

        Raises:
            StoreError: its results cannot be removed.
        """
        if self.owns(slide) and self._folder(slide.id).exists():
            shutil.rmtree(self._folder(slide.id))
        self._cache.forget(slide.path)
        remove_store(slide.store_url)

    def _is_lost(self, slide: StoredSlide) -> bool:
        """Whether another file lies where this one was registered: an upload takes its place."""
        try:
            self.require_same(slide)
        except SlideError:
            return True
        return False

    def identity_of(self, slide: StoredSlide) -> Registered | None:
        """What a slide that is read where it lies must still be; ``None`` of a stored copy, and of
        an object, whose address names its content."""
        return None if is_object(slide.path) or self.owns(slide) else slide.registered

    def require_same(self, slide: StoredSlide, *, at_once: bool = False) -> None:
        """Refuse a slide that was replaced where it lies, as far as that is told in a moment.

        Of slides that an earlier version registered only the SHA-256 is known: one whose files were
        written to or moved since is read whole, once a process.

        Args:
            slide: of the service.
            at_once: read none whole; a worker does so before the job.

        Raises:
            ChangedSlideError: it is not what was registered.
            UnreadableSlideError: it is gone.
        """
        known = self.identity_of(slide)
        if known is not None and known.stamp:
            require_registered(slide.file, known, slide.name, whole=False)
        elif known is not None and not at_once and changed_at(slide.file) > slide.created_at:
            require_registered(slide.file, known, slide.name)

    def owns(self, slide: StoredSlide) -> bool:
        """Whether the slide is a copy that this service made."""
        return slide.file.is_relative_to(self._folder(slide.id))

    def _folder(self, slide_id: str) -> Path:
        return self._settings.slides.absolute() / slide_id

    def _known(self, sha256: str, mpp: float | None, *, force_mpp: bool) -> StoredSlide | None:
        known = self._slides.by_sha256(sha256)
        return self._given(known, mpp, force_mpp=force_mpp) if known is not None else None

    def _given(self, known: StoredSlide, mpp: float | None, *, force_mpp: bool) -> StoredSlide:
        if mpp is None:
            return known
        return self._slides.give_mpp(known.id, accepted_mpp(known, mpp, force=force_mpp))

    def _check(self, path: Path, name: str) -> SlideFacts:
        return check_in_process(
            path,
            name,
            timeout_s=self._settings.check_timeout_s,
            memory_bytes=self._settings.check_memory_bytes,
        )

    def _row(
        self,
        slide_id: str,
        name: str,
        sha256: str,
        size_bytes: int,
        facts: SlideFacts,
        mpp: float | None,
        path: str,
    ) -> StoredSlide:
        return StoredSlide(
            id=slide_id,
            name=name,
            sha256=sha256,
            size_bytes=size_bytes,
            path=path,
            store_url=self._settings.store_url(slide_id),
            vendor=facts.vendor,
            width=facts.width,
            height=facts.height,
            levels=facts.levels,
            stated_mpp=facts.stated.mpp.mean if facts.stated.mpp else None,
            given_mpp=mpp,
            magnification=facts.magnification,
            created_at=datetime.now(UTC),
        )


def _name_of(path: Path) -> str:
    try:
        return name_of(path)
    except OSError:
        return path.name  # reading it says what is wrong


def _accepted(name: str, facts: SlideFacts, mpp: float | None, *, force: bool) -> float | None:
    """What is to be stored of a given resolution. Raises ``MppError``."""
    if mpp is None:
        return None
    found = settle(name, facts.stated, Size(facts.width, facts.height), mpp, force=force)
    found.require(name)
    return found.given


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 and length of a file, or of a folder's files with their names."""
    if not path.is_dir():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest(), path.stat().st_size
    whole, size = hashlib.sha256(), 0
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest, length = _digest(file)
        whole.update(f"{digest} {file.relative_to(path).as_posix()}\n".encode())
        size += length
    return whole.hexdigest(), size
