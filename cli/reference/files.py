"""Pages of the reference: the folders and rows that lie between stages, exit codes, and the environment."""

from __future__ import annotations

from typing import Any

from vesalius.cli.main import load
from vesalius.cli.reference.commands import cell, sentence
from vesalius.cli.reference.python import parsed
from vesalius.data.command.flags import field_texts, texts_below

FOLDERS = {
    "A dataset": (
        """
        DATASET/
          train/ val/ test/       a split each; of a flat dataset the rows have a column `split`
            metadata.jsonl        a record a line, see below
            images/               PNG, 8 bits; of CT in Hounsfield units 16 bits
            masks/                of records that have one
          README.md               the card that dataset hubs read
          quarantine.jsonl        rows that were set aside, each with the reason (`data build --keep-going`)
          card.md croissant.json  what `data check` measured, for people and for catalogues
          manifest.json           written last: what is before it is whole. Records by split, and how they were made
        """,
        '`datasets.load_dataset("imagefolder", data_dir=...)` opens it as it stands. Columns with no\n'
        "value in any row are left out; each split has the same columns with the same types.",
        ("data.record:Record", "data.record:Finding"),
    ),
    "Shards": (
        """
        SHARDS/
          train/ val/ test/       00000.parquet, or 00000.tar (WebDataset), and so on
          README.md               the card
          manifest.json           written last: every shard with its number of records and its sha256
        """,
        "The same rows with their images, in a few large files. Whatever takes a dataset folder takes these too.",
        (),
    ),
    "A run": (
        """
        RUN/
          config.json             written first: the whole configuration, by which the run can be repeated
          machine.json            device, precision, attention kernel and versions
          checkpoints/step-N/     tensors.safetensors, and state.json with its sha256
          losses.jsonl            a line a step: step, loss, gradient_norm, learning_rate
          validation.json         step and loss of each validation
          pictures/               what was drawn on the way
          logs/                   TensorBoard's files
          cache/                  latents; may be deleted
          adapter/                adapter_model.safetensors and adapter_config.json (PEFT), adapter.json (below);
                                  text_encoder/ where that was trained. `--kind full` has base/ in its place
          README.md               the card, with curve.png and pictures.png
        """,
        "An adapter folder may be used without the run around it.",
        ("models.adapters.adapter:AdapterCard", "models.adapters.adapter:Sampling", "models.adapters.fuse:FusedCard"),
    ),
    "Samples": (
        """
        SAMPLES/
          config.json             written first: the configuration
          images/                 PNG with the recipe in a text chunk, or DICOM (`--sink`)
          raw16/                  Hounsfield units of CT, where the model knows them
          .generate/              what a run keeps until all is drawn
          metadata.jsonl          written last: a sample a line, see below
        """,
        "It opens as an image folder too. `--sink imagefolder`, `parquet` and `webdataset` write a dataset or shards.",
        ("inference.sample:Sample",),
    ),
    "A loop": (
        """
        LOOP/
          config.json             written first: the configuration
          data.json               digests of the data
          ledger.jsonl            all that was done, each line with the hash of the one before; ledger.head, its last
          champion.json           where somebody went back to an earlier round
          spent.json              seconds that the loop has run
          reference/ features/    what real images are looked at with, once
          round-00/               the data alone; round-01/ and so on hold more:
            prompts.jsonl plan.json       what was asked for, and how many of each stratum may be kept
            samples/                      a samples folder
            thresholds.json               what real images set as the gates' limits
            verdicts.jsonl                a sample a line: file_name, sha256, reason, refused_by, abstained, scores
            selection.json                which of the accepted are kept
            review.html review.csv review.json   of a loop with `--review`: what was looked at, and who let it in
            accepted/                     a dataset folder, for training only; pool.json says how it was used
            run/                          a run folder
            eval-samples/ hard-samples/ eval/ facts.json   what the round is worth
            decision.json                 promoted or not, and why
          test/                   what the test split said, read once
          report.html             the page
        """,
        "",
        ("improve.asking.ask:Ask", "eval.gates.gates:Verdict", "improve.people.ratings:Rating"),
    ),
    "A reader study": (
        """
        STUDY/
          page/index.html         all that readers get
          pictures/               what they are shown, by the name of its place
          key.json                written last: what is what; keep it from readers
          scores/                 readers.json, readers.md, readers.html, ratings.jsonl (`readers score`)
        """,
        "",
        ("eval.readers.answers:Answer",),
    ),
    "Reports": (
        """
        OUT/
          report.json             all numbers (`eval`, `compare`, `usefulness`)
          report.html             the same as one page that holds all it shows
          report.md               the same without pictures
          trainings.jsonl         of `usefulness`: a training a line, from which a killed run goes on
          explanation.json explanation.html   of `explain`
        """,
        "",
        (),
    ),
}
"""Title -> the tree of a folder, what else is to be said, and the dataclasses whose fields its rows have."""
VARIABLES = {
    "VESALIUS_HOME": "Folder of what is kept between runs: features of images, and the demo's store. "
    "`~/.cache/vesalius` where it is not set.",
    "VESALIUS_API_KEY": "The key that clients of `vesalius serve` must show. A flag would be seen in the list of "
    "processes. Without one `--host` may name this machine alone, save with `--insecure`.",
    "VESALIUS_PACS_USER": "Name for the archive of `vesalius demo --pacs`.",
    "VESALIUS_PACS_PASSWORD": "Password for that archive.",
    "HF_HUB_OFFLINE": "Hugging Face's: with 1 no base is looked for on the hub; what is on this disk opens.",
    "RANK": "torch's and accelerate's, set by a launcher: the number of this process; the first one writes and speaks.",
    "WORLD_SIZE": "As RANK: how many processes there are.",
    "LOCAL_RANK": "As RANK: the number on this machine, by which a GPU is chosen.",
    "ACCELERATE_USE_FSDP": "accelerate's: whether a launch shares weights out over the GPUs (`runs/accelerate`).",
    "FSDP_VERSION": "As ACCELERATE_USE_FSDP: must be 2.",
    "AWS_ACCESS_KEY_ID": "Of a bucket at s3://, for `finetune --sync` and tasks of `cloud render`, with "
    "AWS_SECRET_ACCESS_KEY and AWS_REGION.",
    "AWS_SECRET_ACCESS_KEY": "See AWS_ACCESS_KEY_ID.",
    "AWS_REGION": "See AWS_ACCESS_KEY_ID.",
    "RCLONE_GCS_SERVICE_ACCOUNT_CREDENTIALS": "Of a bucket at gs://, for tasks of `cloud render`: the key file's text.",
}
"""Variables of the environment that are read, and what each does."""
SET = {
    "OMP_NUM_THREADS": "1 in worker processes, unless you say otherwise.",
    "OMP_THREAD_LIMIT": "1 for tesseract, whose threads wait for each other.",
    "TOKENIZERS_PARALLELISM": "false where processes read ahead.",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1: no code out of a model's folder is run.",
    "HF_HUB_DISABLE_TELEMETRY": "1 in the demo.",
    "GRADIO_ANALYTICS_ENABLED": "False in the demo.",
    "GRADIO_TEMP_DIR": "A folder of the demo's own.",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false where weights are shared out.",
}
"""Variables that are set for libraries and processes of the program's own."""
TESTS = {
    "VESALIUS_REAL_DATA": "Folder of real images for those tests that need some; without it they are skipped.",
    "VESALIUS_CI": "1: a test that is skipped for want of something fails.",
    "VESALIUS_SCREENSHOTS": "Folder for pictures of the demo's pages.",
    "VESALIUS_RAISES": "Folder in which the errors that tests provoke are noted, for `make errors`.",
    "VESALIUS_WRITE_TUTORIAL": "1: the walk of the teaching case takes the pictures of its page anew.",
    "VESALIUS_PACK": "Of `runs/train-nano.sh`: the packed real images.",
}
"""Variables that tests and the scripts of `runs` read."""


def files_page() -> str:
    """The page of file formats."""
    lines = [
        "# Files", "",
        "Stages hand each other folders and nothing else, so that any of them may be replaced by another program. What",
        "says that a folder is whole is written last. JSON lines are UTF-8, one object a line.",
    ]  # fmt: skip
    for title, (tree, more, rows) in FOLDERS.items():
        told = [line.removeprefix("        ") for line in tree.strip("\n").rstrip().splitlines()]
        lines += ["", f"## {title}", "", "```text", *told, "```", *(["", more] if more else [])]
        for place in rows:
            lines += ["", *columns(load(place))]
    return "\n".join(lines)


def columns(kind: type[Any]) -> list[str]:
    """The columns of a row by the fields of its dataclass."""
    texts = field_texts(kind)
    doc = " ".join((kind.__doc__ or "").split())
    rows = [f"| `{name}` | {cell(sentence(text))} |" for name, text in texts.items()]
    return [f"### {kind.__name__}", "", doc, "", "| column | what it is |", "|---|---|", *rows]


def environment_page() -> str:
    """The page of exit codes and variables."""
    tree = parsed("vesalius.data.command.ending")
    codes = {name: text for name, text in texts_below(tree.body).items() if name.isupper()}
    values = vars(__import__("vesalius.data.command.ending", fromlist=["DONE"]))
    lines = ["# Exit codes and the environment", "", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {values[name]} | {cell(text)} |" for name, text in codes.items()]
    for title, table in (
        ("Variables that you may set", VARIABLES),
        ("Variables that the program sets", SET),
        ("Variables of tests and scripts", TESTS),
    ):
        lines += ["", f"## {title}", "", "| variable | what it does |", "|---|---|"]
        lines += [f"| `{name}` | {cell(text)} |" for name, text in table.items()]
    return "\n".join(lines)
