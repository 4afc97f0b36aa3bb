"""A registry file becomes a Registry: what is filled in, where paths start, how files include each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import RegistryError
from orchestrator.registry.load import load
from orchestrator.registry.source import MAX_BYTES, read

ENVIRONMENTS = "environments: {e1: {transformers: 4.33.0}, e2: {transformers: 4.37.2}}\n"
MODEL = "models: {m: {environments: [e1, e2], kind: hf, path: weights/m, settings: {prompt: 'Q: {question}'}}}\n"


def written(folder: Path, text: str, name: str = "registry.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        load(path)
    return list(caught.value.problems)


def test_an_entry_knows_its_file_and_line_and_where_its_paths_start(tmp_path: Path) -> None:
    registry = load(written(tmp_path, ENVIRONMENTS + MODEL))
    assert list(registry.environments) == ["e1", "e2"]
    assert registry.models["m"].usual_environments == ["e1"]
    assert registry.base("models", "m") == tmp_path
    assert registry.resolve("models", "m", "weights/m") == tmp_path / "weights" / "m"
    assert registry.where("models", "m").endswith("registry.yaml:2")


def test_a_home_folder_is_expanded_and_an_absolute_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    registry = load(written(tmp_path, ENVIRONMENTS + MODEL.replace("weights/m", "~/w")))
    assert registry.resolve("models", "m", "~/w") == Path("/home/someone/w")
    assert registry.resolve("models", "m", "/data/w") == Path("/data/w")


def test_a_blind_model_takes_what_it_does_not_say_from_the_model_it_blinds(tmp_path: Path) -> None:
    blind = "  b: {kind: blind, of: m, max_new_tokens: 3}\n  c: {kind: blind, of: m, environments: [e2]}\n"
    text = ENVIRONMENTS + "models:\n  m: {environments: [e1, e2], kind: hf, repo: a/b, gpu: {vram_gb: 7}}\n" + blind
    registry = load(written(tmp_path, text))
    one, other = registry.models["b"], registry.models["c"]
    assert (one.environments, one.gpu.vram_gb, one.max_new_tokens) == (["e1", "e2"], 7, 3)
    assert (other.environments, other.usual_environments) == (["e2"], ["e2"])
    assert registry.weights_of("b") == ("m", registry.models["m"])
    assert registry.weights_of("m")[0] == "m"


def test_included_entries_keep_the_folder_of_their_own_file(tmp_path: Path) -> None:
    written(tmp_path, "")
    (tmp_path / "run_matrix.py").touch()
    written(tmp_path, ENVIRONMENTS + MODEL, "registry.yaml")
    demo = written(
        tmp_path,
        "include: {../registry.yaml: [environments, models]}\n" + MODEL.replace("{m:", "{n:"),
        "demo/registry.yaml",
    )
    registry = load(demo)
    assert list(registry.models) == ["m", "n"]
    assert registry.resolve("models", "m", "weights/m") == tmp_path / "weights/m"
    assert registry.resolve("models", "n", "weights/m") == tmp_path / "demo/weights/m"


def test_only_the_sections_asked_for_are_taken_and_the_others_mistakes_do_not_matter(tmp_path: Path) -> None:
    written(tmp_path, ENVIRONMENTS + "models: {x: {nonsense: 1}}\n", "other.yaml")
    registry = load(written(tmp_path, "include: {other.yaml: [environments]}\n"))
    assert (list(registry.environments), dict(registry.models)) == (["e1", "e2"], {})


def test_the_same_file_reached_twice_is_no_clash_and_the_same_name_in_two_files_is(tmp_path: Path) -> None:
    written(tmp_path, ENVIRONMENTS, "environments.yaml")
    written(tmp_path, "include: {environments.yaml: [environments]}\n" + MODEL, "models.yaml")
    text = "include: {environments.yaml: [environments], models.yaml: [environments, models]}\n"
    assert list(load(written(tmp_path, text)).models) == ["m"]
    (found,) = problems(written(tmp_path, text + MODEL))
    assert "registry.yaml:2: models.m: also defined in " in found
    assert found.endswith("models.yaml:2; rename one of them")


def test_an_include_cycle_is_one_line(tmp_path: Path) -> None:
    written(tmp_path, "include: {registry.yaml: [models]}\n", "b.yaml")
    (found,) = problems(written(tmp_path, ENVIRONMENTS + "include: {b.yaml: [models]}\n"))
    assert "b.yaml:1: include.registry.yaml: an include cycle" in found


def test_a_missing_include_is_said_once_and_what_it_would_have_brought_is_not_called_unknown(tmp_path: Path) -> None:
    (found,) = problems(written(tmp_path, "include: {no.yaml: [environments]}\n" + MODEL))
    assert "registry.yaml:1: include.no.yaml: no such file" in found


def test_the_resolved_registry_is_itself_a_registry_file(tmp_path: Path) -> None:
    text = ENVIRONMENTS + MODEL + "exclude: [{models: m, because: x}]\nrun: {shm_gb: 2}\n"
    registry = load(written(tmp_path, text))
    again = load(written(tmp_path, json.dumps(registry.resolved()), "elsewhere/frozen.json"))
    assert again.resolve("models", "m", again.models["m"].path or "") == tmp_path / "weights/m"
    assert again.resolved() == registry.resolved()


def test_merge_keys_are_followed_and_own_keys_win(tmp_path: Path) -> None:
    text = (
        ENVIRONMENTS + "models:\n  m: &m {environments: [e1], kind: hf, repo: a/b}\n  n:\n    repo: a/c\n    <<: *m\n"
    )
    registry = load(written(tmp_path, text))
    assert (registry.models["n"].repo, registry.models["n"].environments) == ("a/c", ["e1"])
    assert registry.origins["models", "n"].document.line(("models", "n", "repo")) == 5


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + ENVIRONMENTS.encode())
    assert list(load(path).environments) == ["e1", "e2"]


BROKEN_FILES = {
    "unclosed": (b"models: {a: [1\nb: 2\n", 2, "not YAML"),
    "tab": (b"models:\n\ta: 1\n", 2, "spaces, not tabs"),
    "not UTF-8": (b"models:\n  a: caf\xe9\n", 2, "not UTF-8 (byte 0xe9)"),
    "control character": (b"a: 1\nb: \x01\n", 2, "not YAML"),
    "empty": (b"# nothing\n", 1, "empty"),
    "no mapping": (b"- a\n", 1, "not a registry"),
    "two documents": (b"a: 1\n---\nb: 1\n", 2, "not YAML"),
    "key twice": (b"models:\n  a: {}\n  a: {}\n", 3, "models.a: written twice; first in line 2"),
    "key that is no text": (b"models:\n  on: {}\n", 2, "read as bool: put it in quotes"),
    "contains itself": (b"models: &m\n  a: *m\n", 1, "contains itself"),
    "foreign tag": (b"run:\n  shm_gb: !!python/name:os.system 3\n", 2, "could not determine a constructor"),
    "impossible date": (b"run:\n  shm_gb: 2026-13-45\n", 2, "put it in quotes"),
    "too deep": (b"a: " + b"[" * 60 + b"]" * 60, 1, "nested too deeply"),
    "far too deep": (b"a: " + b"[" * 20_000 + b"]" * 20_000, 1, ""),
}


@pytest.mark.parametrize(("content", "line", "said"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_broken_file_is_one_line_with_its_place(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(content)
    (found,) = problems(path)
    assert f"registry.yaml:{line}: " in found
    assert said in found
    assert "\n" not in found


def test_an_alias_bomb_ends_early(tmp_path: Path) -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    (found,) = problems(written(tmp_path, "\n".join(lines)))
    assert "aliases expand to more than 200,000 values" in found


def test_a_huge_file_and_a_missing_one_and_a_folder_are_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "larger than 5 MB" in problems(huge)[0]
    assert problems(tmp_path / "none.yaml")[0].endswith("none.yaml: no such file; name one with --registry FILE")
    assert "cannot be read: Is a directory" in problems(tmp_path)[0]


def test_lines_are_kept_for_every_key_and_item(tmp_path: Path) -> None:
    document = read(written(tmp_path, "a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n"))
    assert document.data == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    places = [("a",), ("a", "b"), ("a", "c", 0), ("a", "c", 1, "d"), ("a", "c", 7)]
    assert [document.line(where) for where in places] == [1, 2, 4, 5, 3]
