"""VLMEvalKit's traps, one test each: that it is there, where that can be shown, and that it does not bite here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from kit_cases import CASES, ROOT, Case, new_folder, quiet, spec_of
from lockstep_runner import kit
from lockstep_runner.benchmark import open_benchmark
from lockstep_runner.cells import literal
from lockstep_runner.files import DataError
from lockstep_runner.scoring import ScorerError, evaluate
from make import FILES, natural_bench, picture, pope, write

setUpModule = quiet
HOSTILE = ["=1+1", "NA", "None", "nan", "", "007", "1e5", "a\x0bb", "-", "x" * 40_000, "y" * 1_000_000, "@SUM(A1)"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Answers(unittest.TestCase):
    """Its .xlsx files change answers before they are scored."""

    def hostile(self) -> Case:
        rows: list[dict[str, Any]] = [
            {"index": number, "question": "?", "answer": repr([text]), "image": picture(number)}
            for number, text in enumerate(HOSTILE)
        ]
        return Case("GQA_TestDev_Balanced", rows)

    def test_every_answer_reaches_the_scorer_as_it_was(self) -> None:
        case = self.hostile()
        said = {str(number): text for number, text in enumerate(HOSTILE)}
        scored = case.score(said)
        self.assertEqual([line["score"] for line in scored.scores], [1.0] * len(HOSTILE))
        own = case.kits_own({name: text for name, text in said.items() if len(text) < 100})
        self.assertLess(own["Overall"].iloc[0], 100)

    def test_the_views_hold_no_formula_and_say_where_they_are_cut(self) -> None:
        import openpyxl

        case = self.hostile()
        case.score({str(number): text for number, text in enumerate(HOSTILE)})
        sheet = openpyxl.load_workbook(case.folder / "raw" / "GQA_TestDev_Balanced.xlsx").active
        cells = {row[0].value: row[-1] for row in sheet.iter_rows(min_row=2)}
        self.assertEqual((cells[0].value, cells[0].data_type), ("=1+1", "s"))
        self.assertTrue(cells[9].value.endswith("[cut here; all 40000 characters are in predictions.jsonl]"))

    def test_half_a_surrogate_pair_is_no_failure(self) -> None:
        case = Case("GQA_TestDev_Balanced")
        self.assertEqual(
            case.metrics({name: "cat" if name != "1" else "\ud800" for name in case.whole}), {"accuracy": 50.0}
        )

    def test_an_earlier_scorings_files_are_not_taken_for_this_ones(self) -> None:
        case = Case("POPE")
        right = {name: ("Yes", "No")[int(name) % 2] for name in case.whole}
        self.assertEqual(case.metrics(right)["accuracy"], 100.0)
        self.assertEqual(case.metrics(dict.fromkeys(case.whole, "Yes"))["accuracy"], 50.0)
        self.assertTrue((case.folder / "raw" / "POPE_auxmatch.xlsx").is_file())

    def test_variables_do_not_change_the_scorer(self) -> None:
        case = Case("MMStar")
        said = dict.fromkeys(case.whole, "I think it is A")
        plain = case.metrics(said)
        with mock.patch.dict(os.environ, {"VERBOSE": "1", "PRINT_VANILLA": "1", "OPENAI_API_KEY": "none"}):
            self.assertEqual(case.kits_own(said)["Overall"].iloc[0], 0.0)  # `A` is taken for an article
            self.assertEqual(case.metrics(said), plain)
            self.assertEqual(os.environ["VERBOSE"], "1")
        self.assertEqual(plain, {"accuracy": 0.25})


class Failures(unittest.TestCase):
    """run.py ends with 0 whatever failed; here a raise is seen, with its place."""

    def test_a_raise_inside_names_file_and_line(self) -> None:
        rows = natural_bench()[:4]
        case = Case("NaturalBenchDataset", rows)
        with self.assertRaisesRegex(ScorerError, r"vlmeval/dataset/image_mcq\.py:\d+: AssertionError"):
            case.score(dict.fromkeys(case.whole, "Yes"))


class Code(unittest.TestCase):
    """It reads lists in cells with `eval`."""

    def test_no_cell_and_no_answer_is_run_as_python(self) -> None:
        """Of each type every column in turn, in both forms that it looks for, and the answers of a model with them."""
        tried = 0
        for dataset in CASES:
            rows = FILES[dataset]()[:8]
            for column in rows[0]:
                ran = new_folder() / "ran"
                said = f"open({str(ran)!r}, 'w').close()"
                for code in (said, f"[{said}, {'a' * 80!r}]"):
                    with self.subTest(dataset=dataset, column=column, code=code[:1]):
                        self.through(dataset, [{**row, column: code} for row in rows], code)
                        self.assertFalse(ran.exists())
                    tried += 1
        self.assertGreater(tried, 100)

    def through(self, dataset: str, rows: list[dict[str, Any]], code: str) -> None:
        """All that a job does with a file; most are refused on the way, or have no picture that could be read."""
        with contextlib.suppress(DataError, ScorerError, ValueError, OSError):
            case = Case(dataset, rows)
            for name in case.whole:
                case.benchmark.message(name)
                case.benchmark.choices(name)
                case.benchmark.references(name)
                case.benchmark.release(name)
            case.score(dict.fromkeys(case.whole, code))

    def test_every_way_of_it_into_a_cell_reads_values_alone(self) -> None:
        ran = new_folder() / "ran"
        base, vqa = kit.module("image_base"), kit.module("utils.vqa_eval")
        self.assertEqual(base.toliststr("['a', 'b']"), ["a", "b"])
        self.assertEqual(base.toliststr("plain"), ["plain"])
        self.assertTrue(vqa.istype("['a']", list))
        self.assertFalse(vqa.istype(f"[open({str(ran)!r}, 'w')]", list))
        with self.assertRaisesRegex(ValueError, "is not run as Python"):
            base.toliststr(f"[open({str(ran)!r}, 'w')]")
        self.assertFalse(ran.exists())
        kits = [loaded for name, loaded in sys.modules.items() if name.split(".")[0] == "vlmeval"]
        self.assertGreater(len(kits), 10)
        self.assertEqual({vars(loaded)["eval"] for loaded in kits}, {literal})

    def test_such_a_picture_is_named(self) -> None:
        ran = new_folder() / "ran"
        for column in ("image", "image_path"):
            rows = [{**row, column: f"[open({str(ran)!r}, 'w'), {'a' * 80!r}]"} for row in pope()]
            with self.assertRaisesRegex(DataError, f"index 0: {column} .* cells are not run as Python: correct it"):
                open_benchmark(spec_of("POPE", write(rows, new_folder() / "POPE.tsv")), new_folder())
        self.assertFalse(ran.exists())


class Files(unittest.TestCase):
    """The user's file is read and nothing else happens to it."""

    def test_a_file_with_another_md5_is_neither_downloaded_nor_overwritten(self) -> None:
        folder = new_folder()
        path = write(pope(), folder / "POPE.tsv")
        before, refused = digest(path), []
        with mock.patch("urllib.request.urlretrieve", side_effect=refused.append):
            open_benchmark(spec_of("POPE", path), new_folder())
        self.assertNotEqual(hashlib.md5(path.read_bytes()).hexdigest(), kit.dataset_class("POPE").DATASET_MD5["POPE"])
        self.assertEqual((digest(path), [file.name for file in folder.iterdir()], refused), (before, ["POPE.tsv"], []))

    def test_more_than_a_gigabyte_writes_no_second_file(self) -> None:
        folder, scratch = new_folder(), new_folder()
        path = write(pope(), folder / "POPE.tsv")
        with mock.patch.object(kit.module("image_base"), "file_size", return_value=2.0):
            benchmark = open_benchmark(spec_of("POPE", path), scratch)
        self.assertEqual(len(benchmark.rows), 10)
        self.assertEqual([file.name for file in folder.iterdir()], ["POPE.tsv"])
        self.assertEqual(list(scratch.rglob("*.tsv")), [])

    def test_nothing_is_downloaded(self) -> None:
        with kit.no_download(), self.assertRaisesRegex(DataError, "wanted to download http://x"):
            kit.module("image_base").download_file("http://x")


class Images(unittest.TestCase):
    """It keeps pictures by index under one folder and takes what is there."""

    def test_two_files_with_the_same_index_give_their_own_pictures(self) -> None:
        scratch = new_folder()
        shown = []
        for seed in (1, 2):
            path = write([{**row, "image": picture(seed)} for row in pope()], new_folder() / "POPE.tsv")
            benchmark = open_benchmark(spec_of("POPE", path), scratch)
            part = benchmark.message("0")[0]
            shown.append(Path(part["value"]).read_bytes())
            benchmark.release("0")
            self.assertFalse(Path(part["value"]).exists())
        self.assertNotEqual(shown[0], shown[1])

    def test_two_rows_with_the_same_image_path_give_their_own_pictures(self) -> None:
        rows = [{**row, "image": picture(number), "image_path": "same.png"} for number, row in enumerate(pope())]
        benchmark = Case("POPE", rows).benchmark
        first, second = (benchmark.message(name)[0]["value"] for name in ("0", "1"))
        self.assertNotEqual(Path(first).read_bytes(), Path(second).read_bytes())

    def test_a_wrappers_own_prompt_takes_the_same_way(self) -> None:
        benchmark = Case("POPE").benchmark
        (path,) = benchmark.dataset.dump_image(benchmark.line("3"))
        self.assertEqual(path, benchmark.message("3")[0]["value"])

    def test_pictures_in_files_are_used_in_place_and_not_removed(self) -> None:
        folder = new_folder()
        kept = folder / "images" / "POPE" / "a.png"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(base64.b64decode(picture(1)))
        rows = [{"image_path": "a.png", **{k: v for k, v in row.items() if k != "image"}} for row in pope()]
        benchmark = open_benchmark(spec_of("POPE", write(rows, folder / "POPE.tsv")), new_folder())
        self.assertEqual(benchmark.message("0")[0]["value"], str(kept))
        benchmark.release("0")
        self.assertTrue(kept.is_file())


class Names(unittest.TestCase):
    """Its guesses for names that it does not know."""

    def wrong(self, expected: str, **fields: Any) -> None:
        path = write(pope(), new_folder() / "POPE.tsv")
        with self.assertRaisesRegex(DataError, expected):
            open_benchmark({**spec_of("POPE", path), **fields}, new_folder())

    def test_an_unknown_name_is_no_custom_dataset(self) -> None:
        self.wrong("'POPEE' is not one of .*did you mean 'POPE'", dataset="POPEE")

    def test_a_type_that_the_scorer_does_not_take(self) -> None:
        self.wrong("type is 'mcq', but POPE is scored as 'yes_no'", type="mcq")
        self.wrong("unknown type 'yes-no'; did you mean 'yes_no'", type="yes-no")

    def test_a_dataset_that_needs_a_judge_is_refused(self) -> None:
        self.wrong("AMBER: its scorer", dataset="AMBER")

    def test_the_korean_names_that_this_release_lacks(self) -> None:
        for dataset, kind in (("MMBench_DEV_KO", "circular"), ("SEEDBench_IMG_KO", "mcq"), ("MMStar_KO", "mcq")):
            from lockstep_runner.rules import type_of

            self.assertEqual(type_of({"name": dataset, "dataset": dataset, "type": kind}), kind)


class Imports(unittest.TestCase):
    """What is imported, and what is left for others."""

    def python(self, code: str) -> str:
        path = os.pathsep.join([str(ROOT / "runner"), str(ROOT / "tests" / "fixtures" / "benchmarks")])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout.strip().splitlines()[-1]

    def test_scoring_imports_neither_torchvision_nor_the_models(self) -> None:
        code = "import sys; from lockstep_runner import kit; kit.dataset_class('POPE')\n"
        code += (
            "print([name for name in ('torchvision', 'transformers', 'vlmeval.vlm', 'vlmeval') if name in sys.modules])"
        )
        self.assertEqual(self.python(code), "[]")

    def test_the_whole_kit_can_be_imported_afterwards(self) -> None:
        code = "from lockstep_runner import kit; ours = kit.dataset_class('POPE')\n"
        code += "import vlmeval.config, vlmeval.dataset as data\n"
        code += "models = len(vlmeval.config.supported_VLM)\n"
        code += "again = kit.dataset_class('POPE')\n"
        code += "import sys; mods = [m for name, m in sys.modules.items() if name.split('.')[0] == 'vlmeval']\n"
        code += "shut = len(mods) > 200 and all(vars(m)['eval'].__name__ == 'literal' for m in mods)\n"
        code += "print(models > 300, data.ImageYORNDataset is ours, again is ours, shut)"
        self.assertEqual(self.python(code), "True True True True")

    def test_captions_need_no_kit(self) -> None:
        try:
            import sacrebleu
        except ImportError:
            self.skipTest("no sacrebleu in this environment: captions are scored in tf-4.42")
        code = CAPTIONS.format(folder=str(new_folder()))
        expected = f"100.0 10 nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
        self.assertEqual(self.python(code), expected)


CAPTIONS = """
import sys
from pathlib import Path
sys.modules["vlmeval"] = None
import make
from lockstep_runner.benchmark import open_benchmark
from lockstep_runner.scoring import evaluate
folder = Path({folder!r})
path = make.write(make.captions(), folder / "captions.tsv")
spec = dict(name="c", dataset="c", type="caption", data=str(path), sha256="", scorer="bleu",
            metrics=[dict(id="bleu", unit="BLEU", max=100.0)])
benchmark = open_benchmark(spec, folder / "scratch")
assert [part["type"] for part in benchmark.message("3")] == ["image", "text"]
said = {{row.id: benchmark.references(row.id)[int(row.id) % 2] for row in benchmark.rows}}
found = evaluate(benchmark, spec, said, set(), True, folder / "raw")
assert {{line["score"] for line in found.scores}} == {{None}}
print(round(found.metrics[0]["value"], 9), found.n_units, found.signature)
"""


class BadScores(unittest.TestCase):
    """A number that is no number, or not on the registry's scale, is a failure and no score."""

    def test_a_value_outside_of_the_scale(self) -> None:
        case = Case("GQA_TestDev_Balanced")
        spec = {**case.spec, "metrics": [{**case.spec["metrics"][0], "max": 40.0}]}
        with self.assertRaisesRegex(ScorerError, "'accuracy' is 50.0, outside of the registry's 0…40"):
            evaluate(case.benchmark, spec, dict.fromkeys(case.whole, "cat"), set(), True, case.folder / "raw")

    def test_a_scale_that_is_not_the_scorers_is_found_at_the_start(self) -> None:
        case = Case("GQA_TestDev_Balanced")
        spec = {**case.spec, "metrics": [{**case.spec["metrics"][0], "max": 1.0}]}
        with self.assertRaisesRegex(DataError, "'accuracy' goes up to 100, the registry says max 1"):
            open_benchmark(spec, new_folder())


if __name__ == "__main__":
    unittest.main()
