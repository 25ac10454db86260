"""Questions whose answers are known: what a programmer asks, and the objects that answer it.

Written from memory of the standard library, before any ranking of them was looked at, and
not changed since. An answer that this Python does not document is passed over, and so is a
question without any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from energy_plugin.library.questions import Question

# question: names of the documents that answer it, any of them
KNOWN: dict[str, tuple[str, ...]] = {
    "remove whitespace at the end of a line": ("builtins.str.rstrip", "builtins.str.strip"),
    "run a command and capture its output": (
        "subprocess.run",
        "subprocess.check_output",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
    ),
    "wait until a thread has finished": ("threading.Thread.join",),
    "parse command line arguments": ("argparse", "argparse.ArgumentParser", "optparse", "getopt"),
    "send an email with an attachment": ("smtplib.SMTP.send_message", "smtplib.SMTP.sendmail"),
    "shrink bytes with gzip": ("gzip.compress", "gzip.GzipFile", "zlib.compress"),
    "replace text that matches a pattern": ("re.sub", "re.subn", "re.Pattern.sub"),
    "how long is it between two dates": ("datetime.timedelta",),
    "download a web page": ("urllib.request.urlopen", "urllib.request.urlretrieve"),
    "put the items of a list in order": ("builtins.sorted", "builtins.list.sort"),
    "a temporary folder that is deleted afterwards": ("tempfile.TemporaryDirectory",),
    "make an unguessable token for a password reset link": (
        "secrets.token_urlsafe",
        "secrets.token_hex",
        "secrets.token_bytes",
    ),
    "copy a whole folder with everything in it": ("shutil.copytree",),
    "delete a folder that is not empty": ("shutil.rmtree",),
    "how much disk space is left": ("shutil.disk_usage", "os.statvfs", "os.fstatvfs"),
    "where on the path is a program": ("shutil.which", "os.get_exec_path"),
    "list all files of a folder and its subfolders": (
        "os.walk",
        "os.fwalk",
        "pathlib.Path.rglob",
        "glob.glob",
    ),
    "the file extension of a path": ("pathlib.PurePath.suffix", "posixpath.splitext"),
    "the home folder of the user": ("pathlib.Path.home", "posixpath.expanduser"),
    "read a text file at once": ("pathlib.Path.read_text",),
    "create a folder and all folders above it": ("os.makedirs", "pathlib.Path.mkdir"),
    "a value from the environment, or a default": ("os.getenv", "os.getenvb"),
    "how many processors does this machine have": ("os.cpu_count", "multiprocessing.cpu_count"),
    "remember results of a function so that it is not called twice": (
        "functools.lru_cache",
        "functools.cache",
    ),
    "fix some arguments of a function": ("functools.partial", "functools.partialmethod"),
    "all pairs of two lists": ("itertools.product",),
    "every way to choose three of ten": ("itertools.combinations", "math.comb"),
    "join several iterators into one": ("itertools.chain", "itertools.chain.from_iterable"),
    "the most frequent words of a text": (
        "collections.Counter.most_common",
        "collections.Counter",
    ),
    "a dictionary that makes missing values": ("collections.defaultdict",),
    "a queue with fast ends on both sides": ("collections.deque",),
    "the checksum of a file": ("hashlib.file_digest", "zlib.crc32", "zlib.adler32"),
    "mix up a list at random": ("random.Random.shuffle", "random.shuffle"),
    "pick some items without taking one twice": ("random.Random.sample", "random.sample"),
    "the middle value of some numbers": (
        "statistics.median",
        "statistics.median_low",
        "statistics.median_high",
    ),
    "how far do values spread around their mean": (
        "statistics.stdev",
        "statistics.pstdev",
        "statistics.variance",
        "statistics.pvariance",
    ),
    "break a long paragraph into lines": ("textwrap.wrap", "textwrap.fill"),
    "take away the common indentation": ("textwrap.dedent", "inspect.cleandoc"),
    "unpack everything from a zip archive": (
        "zipfile.ZipFile.extractall",
        "shutil.unpack_archive",
    ),
    "turn an object into JSON text": ("json.dumps", "json.encoder.JSONEncoder.encode"),
    "read JSON from a file": ("json.load",),
    "is it a leap year": ("calendar.isleap",),
    "read a date from a text with a format": (
        "datetime.datetime.strptime",
        "time.strptime",
        "datetime.datetime.fromisoformat",
    ),
    "pause the program for some seconds": ("time.sleep",),
    "measure how long a piece of code takes": (
        "timeit.timeit",
        "timeit.Timer.timeit",
        "timeit",
        "timeit.Timer",
    ),
    "words that are spelled almost like this one": ("difflib.get_close_matches",),
    "show the lines in which two files differ": (
        "difflib.unified_diff",
        "difflib.context_diff",
        "difflib.ndiff",
        "difflib.Differ.compare",
    ),
    "the smallest numbers of a long list": ("heapq.nsmallest",),
    "a copy that shares nothing with the original": ("copy.deepcopy",),
    "ask for a password without showing it": ("getpass.unix_getpass", "getpass.getpass"),
    "open a page in the browser": ("webbrowser.open", "webbrowser.open_new_tab"),
    "split a shell command into words": ("shlex.split",),
    "ignore an exception on purpose": ("contextlib.suppress",),
    "the square root of a whole number, rounded down": ("math.isqrt",),
    "turn special characters into HTML entities": ("html.escape", "xml.sax.saxutils.escape"),
    "guess the MIME type of a file by its name": ("mimetypes.guess_type",),
    "the source code of a function": ("inspect.getsource", "inspect.getsourcelines"),
    "evaluate a literal from untrusted text": ("ast.literal_eval",),
    "start a function later, after a delay": ("threading.Timer", "sched.scheduler.enter"),
    "the IP address of a host name": ("socket.gethostbyname", "socket.getaddrinfo"),
}


def known(names: Iterable[str]) -> list[Question]:
    """Questions that these documents answer, with the documents that do."""
    present = set(names)
    found = (
        Question(text, tuple(name for name in answers if name in present))
        for text, answers in KNOWN.items()
    )
    return [question for question in found if question.answers]
