#!/usr/bin/env python3
"""The dashboard in a headless Chromium, used as a person would. usage: run.py CACHE

Most of it is on a service of its own, which is ended and started again under the page; `dhow ui` is beside the service at
$DOCKER_HOST. Pictures of each section, light and dark, are left in CACHE/screenshots.
"""

import gzip
import hashlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import suite

cache = Path(sys.argv[1]).resolve()
if "playwright" not in sys.modules and not os.environ.get("SUITE_INSIDE"):
    python = suite.python(cache, HERE / "requirements.txt")
    os.execve(python, [str(python), __file__, str(cache)], {**os.environ, "SUITE_INSIDE": "1"})

from playwright.sync_api import expect, sync_playwright

DHOW, PICTURES = os.environ["SUITE_DHOW"], cache / "screenshots"
# What the service of this suite is asked does not go to the other one.
OWN = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
PATIENCE = 30_000
EVIL = "<img src=x onerror=alert(1)>"
LOOP = "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i of it; sleep 0.05; done"
# Least contrasts of text, and of what is drawn: WCAG 2.1, 1.4.3 and 1.4.11.
TEXT, DRAWN = 4.5, 3.0
XTERM = "1f991ac3b4b283ebf96e60ae23a00a52765dd3a2e46fa6fdda9f1aab032f7495"

roots = Path(tempfile.mkdtemp(prefix="dhow-dashboard-"))
session = suite.Session("dashboard")
expect.set_options(timeout=PATIENCE)


def command(*words):
    return [DHOW, "--root", str(roots / "data"), "--run-root", str(roots / "run"), *words]


def dhow(*words):
    ran = subprocess.run(command(*words), capture_output=True, text=True, timeout=120, env=OWN)
    assert ran.returncode == 0, (words, ran.stderr)
    return ran.stdout.strip()


def serve(addr):
    """A service with a dashboard, once it listens; and the address with the token."""
    log = open(cache / "dashboard.log", "a+")
    log.seek(0, os.SEEK_END)
    begin = log.tell()
    process = subprocess.Popen(command("serve", "--ui-addr", addr), stderr=log, env=OWN)

    def listens():
        assert process.poll() is None, "dhow serve has ended"
        log.seek(begin)
        return "msg=listening" in log.read()

    suite.until("the service listens", listens)
    return process, (roots / "run/ui.address").read_text().strip()


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, process.returncode


def ask(method, path, body=None, **headers):
    """What is answered to somebody who is no browser."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def picture(name):
    page.screenshot(path=PICTURES / f"{name}.png")


def row(name):
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def go(section):
    page.get_by_role("navigation", name="Sections").get_by_role("link", name=section).click()
    expect(page.get_by_role("heading", name=section, level=1)).to_be_visible()


def open_container(name, part=None):
    go("Containers")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    if part:
        page.get_by_role("link", name=part, exact=True).click()


def search(text):
    page.get_by_role("searchbox").fill(text)


def points(plot):
    return int(plot.get_attribute("data-points") or 0)


shutil.rmtree(PICTURES, ignore_errors=True)
PICTURES.mkdir(parents=True)
service, address = serve("0")
dhow("load", "-i", os.environ["SUITE_BUSYBOX"])
playwright = sync_playwright().start()
browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
page = context.new_page()
page.set_default_timeout(PATIENCE)
broken = []
# What the page says in text: keys are bytes.
typed = []
page.on("websocket", lambda socket: socket.on("framesent", lambda sent: typed.append(sent) if isinstance(sent, str) else None))
page.on("pageerror", lambda error: broken.append(str(error)))
page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)


@session.step
def refuses_a_wrong_token():
    page.goto(f"{address.split('#')[0]}#token={'A' * 43}")
    expect(page.get_by_role("alert").filter(has_text="this is not the token")).to_be_visible()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "token" not in page.url, page.url
    picture("sign-in-light")


@session.step
def signs_in_by_what_is_typed_and_by_the_address():
    page.get_by_label("Address or token").fill(address)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("There are no containers.")).to_be_visible()
    context.clear_cookies()
    page.evaluate("localStorage.clear()")
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#state")).to_have_text("live")
    assert "token" not in page.url, page.url
    [cookie] = context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
    page.reload()
    expect(page.locator("#state")).to_have_text("live")


@session.step
def shows_what_others_make_by_itself():
    dhow("network", "create", "backend")
    dhow("volume", "create", "--label", f"evil={EVIL}", "data")
    dhow("run", "-d", "--name", "web", "--network", "backend", "-p", "127.0.0.1:0:80", "-v", "data:/data", "--label",
         f"evil={EVIL}", "busybox", "sh", "-c", f"echo '{EVIL}'; echo to the other >&2; {LOOP}")
    dhow("create", "--name", "idle", "busybox", "true")
    expect(row("web")).to_contain_text("Up")
    expect(row("idle")).to_contain_text("Created")
    dhow("rename", "idle", "lazy")
    expect(row("lazy")).to_be_visible()
    expect(row("idle")).to_have_count(0)


@session.step
def plots_get_points():
    for what in ("CPU", "Memory"):
        plot = row("web").get_by_role("img", name=f"{what} of web")
        suite.until(f"the plot of {what} has points", lambda: points(plot) >= 3)
        assert len(plot.locator("polyline").get_attribute("points").split()) == points(plot)
    expect(row("web")).to_contain_text(re.compile(r"\d %.*B"))
    picture("containers-light")
    open_container("web")
    chart = page.locator("figure").filter(has_text="Memory").locator("svg")
    suite.until("the large plot has points", lambda: points(chart) >= 3)
    expect(page.locator("dl")).to_contain_text(f"evil={EVIL}")
    picture("container-light")


@session.step
def logs_come_and_are_searched():
    open_container("web", "Logs")
    log = page.get_by_role("log")
    expect(log).to_contain_text("line 20 of it")
    expect(log.locator(".stderr")).to_contain_text("to the other")
    expect(log).to_contain_text(EVIL)
    search("ONERROR")
    expect(log.locator("> div")).to_have_count(1)
    expect(log.locator("mark")).to_have_text("onerror")
    search("line 7 of")
    expect(log.locator("> div")).to_have_count(1)
    expect(page.locator(".bar")).to_contain_text("1 of")
    picture("logs-light")
    search("")
    before = log.locator("> div").count()
    suite.until("more lines come", lambda: log.locator("> div").count() > before)
    page.get_by_label("Times").check()
    expect(log.locator("time").first).to_be_visible()


@session.step
def a_log_that_is_long_is_kept_in_part():
    dhow("run", "--name", "long", "busybox", "seq", "900")
    open_container("long", "Logs")
    expect(page.locator(".bar")).to_contain_text("900 lines · ended")
    dhow("run", "-d", "--name", "much", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; seq 9000")
    open_container("much", "Logs")
    expect(page.locator(".bar")).to_contain_text("0 lines")
    dhow("exec", "much", "touch", "/go")
    expect(page.locator(".bar")).to_contain_text("5000 lines · the 4000 before are not kept")
    expect(page.get_by_role("log")).to_contain_text("9000")
    dhow("wait", "much")
    dhow("rm", "long", "much")


@session.step
def a_log_goes_on_with_each_run_and_is_whole():
    dhow("run", "--name", "short", "busybox", "sh", "-c", "echo begins; yes x | tr -d '\\n' | head -c 40000; echo; printf 'no end of line'")
    open_container("short", "Logs")
    log = page.get_by_role("log")
    expect(page.locator(".bar")).to_contain_text("3 lines · ended")
    expect(log.locator("> div").nth(1)).to_have_text(re.compile("^[^x]*x{16000,} …$"))
    expect(log.locator("> div").nth(2)).to_contain_text("no end of line")
    dhow("start", "short")
    dhow("wait", "short")
    expect(page.locator(".bar")).to_contain_text("6 lines · ended")
    dhow("rm", "short")


@session.step
def a_terminal_is_typed_in():
    open_container("web", "Terminal")
    screen = page.locator(".xterm-screen")
    # A link of somebody else's may lead here: nothing is begun by coming.
    start = page.get_by_role("button", name="Start a new shell")
    expect(start).to_be_visible()
    assert not dhow("container", "exec-ls", "--quiet", "web")
    start.click()
    expect(page.locator(".bar")).to_contain_text("connected")
    page.keyboard.type("echo $((6*7))$TERM; stty size\n")
    rows = page.locator(".xterm-rows")
    expect(rows).to_contain_text("42xterm-256color")
    size = re.compile(r"(\d+) (\d+)")
    expect(rows).to_contain_text(size)
    picture("terminal-light")
    # A window of another size has another number of columns.
    page.set_viewport_size({"width": 900, "height": 800})
    page.keyboard.type("clear; stty size\n")
    columns = lambda: max((int(found[1]) for found in size.findall(rows.inner_text())), default=999)
    suite.until("the shell knows its size", lambda: page.keyboard.type("stty size\n") or columns() < 130)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.keyboard.press("Control+Shift+ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == "Terminal"
    screen.click()
    # More than a message may be long, as somebody pastes it.
    page.keyboard.type("stty -echo; echo take it''; while read -r line && [ \"$line\" ]; do n=$((n+1)); done; stty echo; echo $n lines\n")
    expect(rows.get_by_text(re.compile("^take it *$"))).to_be_visible()
    page.evaluate("""() => {
      const text = new DataTransfer();
      text.setData('text/plain', `${'x'.repeat(15)}\\n`.repeat(100000) + '\\n');
      document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData: text, bubbles: true }));
    }""")
    expect(rows).to_contain_text("100000 lines", timeout=120_000)
    # More is said than can be drawn: it waits, and nothing of it is lost.
    page.keyboard.type("clear; seq 400000; echo all of it''\n")
    expect(rows.get_by_text(re.compile("^all of it *$"))).to_be_visible(timeout=120_000)
    expect(rows).to_contain_text("400000")
    assert "stop" in typed and "go" in typed, typed
    page.keyboard.type("exit 3\n")
    expect(page.locator(".bar")).to_contain_text("ended with 3")
    start.click()
    expect(page.locator(".bar")).to_contain_text("connected")
    go("Containers")
    suite.until("the shell ends with the page", lambda: not dhow("container", "exec-ls", "--quiet", "web"))


@session.step
def images_show_their_layers():
    go("Images")
    expect(page.get_by_role("link", name=re.compile("busybox"))).to_be_visible()
    picture("images-light")
    page.get_by_role("link", name=re.compile("busybox")).first.click()
    layers = page.get_by_role("table", name="Layers")
    expect(layers.get_by_role("row")).not_to_have_count(1)
    expect(layers.get_by_role("meter").first).to_be_visible()
    expect(page.locator("dl")).to_contain_text("linux/")
    picture("image-light")


@session.step
def networks_are_a_graph():
    go("Networks")
    graph = page.locator("svg.graph")
    expect(graph.locator("text").filter(has_text=re.compile("^backend$"))).to_be_visible()
    expect(graph.locator(".edge")).not_to_have_count(0)
    expect(graph.locator(".address").first).to_have_text(re.compile(r"\d+\.\d+\.\d+\.\d+"))
    picture("networks-light")
    before = graph.locator(".edge").count()
    dhow("network", "connect", "bridge", "web")
    expect(graph.locator(".edge")).to_have_count(before + 1)
    labels = [label.bounding_box() for label in graph.locator(".address").all()]
    assert len(labels) > 1
    over = lambda a, b: all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in [("x", "width"), ("y", "height")])
    assert not [(a, b) for place, a in enumerate(labels) for b in labels[:place] if over(a, b)], labels
    graph.get_by_role("link", name="Container web").click()
    expect(page.get_by_role("heading", name="web", level=1)).to_be_visible()


@session.step
def volumes_show_their_users_and_sizes():
    go("Volumes")
    expect(row("web").filter(has_text="data")).to_be_visible()
    expect(row("web").locator("td.number")).to_have_text(re.compile(r"\d.*B"))
    search(EVIL)
    expect(row("web")).to_be_visible()
    search("nosuch")
    expect(page.get_by_text("None of 1 volumes has “nosuch”.")).to_be_visible()
    search("")
    picture("volumes-light")


@session.step
def the_disk_is_told():
    go("Disk")
    expect(page.get_by_role("row").filter(has_text="Images")).to_contain_text("MB")
    expect(page.get_by_text("in all")).to_be_visible()
    picture("disk-light")


@session.step
def events_come():
    go("Events")
    expect(page.get_by_role("row").filter(has_text="rename")).not_to_have_count(0)
    dhow("volume", "create", "later")
    expect(page.get_by_role("row").filter(has_text="volume").filter(has_text="later")).to_be_visible()
    picture("events-light")
    dhow("volume", "rm", "later")
    expect(page.get_by_role("row").filter(has_text="later")).to_have_count(2)


@session.step
def containers_are_stopped_started_and_removed():
    go("Containers")
    page.get_by_role("button", name="Stop web").click()
    expect(row("web")).to_contain_text("Exited")
    page.get_by_role("button", name="Start web").click()
    expect(row("web")).to_contain_text("Up")
    since = dhow("inspect", "--format", "{{.State.StartedAt}}", "web")
    page.get_by_role("button", name="Restart web").click()
    suite.until("it has started again", lambda: dhow("inspect", "--format", "{{.State.StartedAt}}", "web") != since)
    before = points(row("web").get_by_role("img").first)
    suite.until("the new run is measured", lambda: points(row("web").get_by_role("img").first) > before)
    remove = page.get_by_role("button", name="Remove lazy")
    remove.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Remove lazy?")
    picture("question-light")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(row("lazy")).to_be_visible()
    remove.focus()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    expect(row("lazy")).to_have_count(0)
    # Whoever goes by keys is where the row was.
    assert page.evaluate("document.activeElement.closest('tbody') !== null")
    dhow("create", "--name", "lazy", "busybox", "/nosuch")
    page.get_by_role("button", name="Start lazy").click()
    expect(page.locator("#refused")).to_contain_text("/nosuch")
    # What fails otherwise does not take its place, and what works does.
    expect(page.locator("#notice")).to_be_hidden()
    page.get_by_role("button", name="Restart web").click()
    expect(page.locator("#refused")).to_be_hidden()


@session.step
def what_containers_say_is_never_markup():
    for path in ("containers", "volumes", "events"):
        page.evaluate(f"location.hash = '#/{path}'")
        expect(page.get_by_role("table")).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
    open_container("web")
    expect(page.locator("dl")).to_contain_text(EVIL)
    assert page.locator("img[src=x]").count() == 0


FOCUS = """() => {
  const node = document.activeElement, look = getComputedStyle(node);
  const label = node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.[0]?.textContent || '';
  return {name: node.tagName, label, outline: look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) > 0};
}"""


@session.step
def all_of_it_is_done_by_keys():
    page.goto(address.split("#")[0])
    expect(row("web")).to_be_visible()
    for number, name in enumerate(("Containers", "Images", "Networks", "Volumes", "Disk", "Events"), 1):
        page.keyboard.press(str(number))
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_focused()
    page.keyboard.press("1")
    page.keyboard.press("/")
    page.keyboard.type("web")
    expect(row("lazy")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(row("lazy")).to_be_visible()
    page.keyboard.press("Escape")
    reached = []
    page.get_by_role("link", name="dhow", exact=True).focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at["name"] == "BODY":
            break
        assert at["label"] and at["outline"], at
        reached.append(at["label"])
    for label in ("web", "Stop web", "Remove lazy", "Search this section", "Keys", "Switch between light and dark"):
        assert label in reached, (label, reached)
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    expect(page.get_by_role("heading", name="Containers", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("search")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="web", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="web", level=1)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Containers", level=1)).to_be_visible()


@session.step
def every_control_has_a_name():
    for section in ("Containers", "Images", "Networks", "Volumes", "Disk", "Events"):
        go(section)
        nameless = page.evaluate("""() => [...document.querySelectorAll('a, button, input, meter, [role=img], table')]
            .filter((node) => !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length))
            .map((node) => node.outerHTML)""")
        assert not nameless, nameless


CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const light = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((one) => one / 255)
      .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement('span'));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return light(getComputedStyle(probe).color);
  };
  const found = {};
  for (const back of ['back', 'raised', 'hover'])
    for (const front of ['text', 'dim', 'link', 'bad', 'good', 'warn', 'control', 'plot']) {
      const [a, b] = [colour(front), colour(back)].sort((x, y) => y - x);
      found[`${front} on ${back}`] = (a + 0.05) / (b + 0.05);
    }
  for (const [front, back] of [['text', 'mark'], ['back', 'link']]) {
    const [a, b] = [colour(front), colour(back)].sort((x, y) => y - x);
    found[`${front} on ${back}`] = (a + 0.05) / (b + 0.05);
  }
  probe.remove();
  return found;
}"""


def contrasts():
    for pair, contrast in page.evaluate(CONTRAST).items():
        drawn = pair.split()[0] in ("good", "warn", "control", "plot")
        assert contrast >= (DRAWN if drawn else TEXT), (pair, contrast)


@session.step
def light_and_dark_are_read_well():
    background = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
    go("Containers")
    contrasts()
    light = background()
    page.emulate_media(color_scheme="dark")
    dark = background()
    assert dark != light
    contrasts()
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert background() == dark
    page.reload()
    expect(page.locator("#state")).to_have_text("live")
    assert background() == dark, "what was chosen stays"
    suite.until("the plot has points", lambda: points(row("web").get_by_role("img").first) >= 3)
    picture("containers-dark")
    for section in ("Images", "Networks", "Volumes", "Disk", "Events"):
        go(section)
        expect(page.get_by_role("table").locator("tbody tr")).not_to_have_count(0)
        picture(f"{section.lower()}-dark")
    open_container("web")
    chart = page.locator("figure").filter(has_text="Memory").locator("svg")
    suite.until("the large plot has points", lambda: points(chart) >= 3)
    picture("container-dark")
    open_container("web", "Logs")
    expect(page.get_by_role("log")).to_contain_text("of it")
    picture("logs-dark")
    open_container("web", "Terminal")
    page.get_by_role("button", name="Start a new shell").click()
    expect(page.locator(".bar")).to_contain_text("connected")
    page.keyboard.type("ls --color=always /; echo done\n")
    expect(page.locator(".xterm-rows")).to_contain_text("etc")
    picture("terminal-dark")


@session.step
def the_page_finds_a_service_that_was_started_again():
    global service, address
    go("Containers")
    stop(service)
    expect(page.locator("#state")).to_have_text("no connection")
    expect(page.locator("#notice")).to_contain_text("trying again")
    dhow("run", "-d", "--name", "meanwhile", "busybox", "sh", "-c", LOOP)
    service, again = serve(str(urlsplit(address).port))
    assert again.split("#")[0] == address.split("#")[0] and again != address
    # Whoever was at the port meanwhile has heard what the page sends: none of it is worth anything now.
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="has a new address")).to_be_visible()
    assert page.evaluate("Object.keys(localStorage)") == ["dhow-theme"]
    page.get_by_label("Address or token").fill(address)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="this is not the token")).to_be_visible()
    address = again
    page.get_by_label("Address or token").fill(address)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#notice")).to_be_hidden()
    expect(row("meanwhile")).to_contain_text("Up")
    dhow("rm", "-f", "meanwhile")
    expect(row("meanwhile")).to_have_count(0)


@session.step
def others_are_refused():
    place = urlsplit(address)
    here, token = f"http://{place.netloc}", place.fragment.removeprefix("token=")
    status, headers, content = ask("POST", "/session", token.encode(), origin=here)
    assert status == 200, content
    signed = {"cookie": headers["set-cookie"].split(";")[0], "x_dhow_key": re.search(rb'"key":"([^"]+)', content)[1].decode()}
    assert ask("GET", "/api/containers/json", **signed)[0] == 200
    assert ask("GET", "/api/containers/json", cookie=signed["cookie"])[0] == 401
    assert ask("GET", "/api/containers/json", x_dhow_key=signed["x_dhow_key"])[0] == 401
    assert ask("GET", "/", host="evil.example")[0] == 421
    status, headers, _ = ask("GET", "/", host=f"localhost:{place.port}")
    assert status == 307 and headers["location"] == f"{here}/", headers
    assert ask("GET", "/api/containers/json", host=f"evil.example:{place.port}", **signed)[0] == 421
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
        assert ask("GET", "/api/containers/json", origin=origin, **signed)[0] == 403
        assert ask("POST", "/session", token.encode(), origin=origin)[0] == 403
        assert ask("GET", "/stream/events", origin=origin, upgrade="websocket", connection="Upgrade", sec_websocket_version="13",
                   sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", cookie=signed["cookie"],
                   sec_websocket_protocol=f"dhow, dhow-key.{signed['x_dhow_key']}")[0] == 403
    assert ask("POST", "/api/containers/web/stop", **signed)[0] == 403, "no origin"
    assert ask("POST", "/session", b"A" * 43, origin=here)[0] == 403
    assert ask("POST", "/api/containers/create", b"{}", origin=here, **signed)[0] == 403
    assert "access-control-allow-origin" not in ask("OPTIONS", "/api/info", origin="http://evil.example")[1]
    ran = subprocess.run(command("serve", "-H", f"unix://{roots}/other.sock", "--ui-addr", "0.0.0.0:0"), capture_output=True, text=True, timeout=60, env=OWN)
    assert ran.returncode != 0 and "no loopback address" in ran.stderr, ran.stderr
    mode = (roots / "run/ui.address").stat().st_mode & 0o777
    assert mode == 0o600, oct(mode)


@session.step
def a_session_that_is_over_is_told():
    context.clear_cookies()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@session.step
def the_terminals_code_is_what_was_published():
    _, headers, content = ask("GET", "/xterm.js")
    assert headers["content-encoding"] == "gzip", headers
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() == XTERM


@session.step
def dhow_ui_shows_a_server_that_knows_of_no_dashboard():
    ui = subprocess.Popen([DHOW, "-H", os.environ["DOCKER_HOST"], "ui"], stdout=subprocess.PIPE, text=True)
    try:
        printed = ui.stdout.readline().strip()
        assert printed.startswith("http://127.0.0.1:"), printed
        page.goto(printed)
        expect(page.get_by_text("There are no containers.")).to_be_visible()
        expect(page.locator("#state")).to_have_text("live")
    finally:
        ui.send_signal(signal.SIGINT)
    assert ui.wait(timeout=60) == 0, ui.returncode


@session.step
def nothing_broke_on_the_way():
    assert not broken, broken


browser.close()
playwright.stop()
try:
    stop(service)
finally:
    dhow("system", "reset", "--force")
    shutil.rmtree(roots)
session.end(HERE)
