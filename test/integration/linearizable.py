#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writers, readers and watchers through two API servers while servers are killed and paused, and etcd is paused, compacted and restarted. What each client saw is
recorded and checked afterwards: no acknowledged write is lost, no read is stale, no watch loses, doubles or reorders an event.

usage: test/integration/linearizable.py BUILD_DIR [SEED]     prints "N passed, N failed"; exit status 1 where one failed
"""
import collections, http.client, json, os, random, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import servers
from servers import Api, Site, check, free_port, server_ready

CM = "/api/v1/namespaces/default/configmaps"
KEYS = ["r%d" % i for i in range(6)]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
WRITERS, READERS, WATCHERS = 5, 5, 4

Write = collections.namedtuple("Write", "key value expected start end outcome revision")  # outcome: ok, refused, unknown
Read = collections.namedtuple("Read", "key value revision start end kind server")


class Run:
    def __init__(self, site, ports):
        self.site, self.ports, self.stop = site, ports, False
        self.writes, self.reads, self.watchers, self.errors = [], [], [], []

    def api(self, rng):
        return Api(rng.choice(self.ports), timeout=8)


def request(api, method, path, body=None, ctype="application/json"):
    """(status, object) or None where it is not known what became of it."""
    c = api.connect()
    try:
        c.request(method, path, json.dumps(body) if body is not None else None, api.headers({"Content-Type": ctype} if body is not None else None))
        r = c.getresponse()
        return r.status, json.loads(r.read())
    except ConnectionRefusedError:
        return 0, {}
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        c.close()


def writer(run, name, rng):
    n = 0
    while not run.stop:
        key = rng.choice(KEYS)
        got = request(run.api(rng), "GET", "%s/%s" % (CM, key))
        if not got or got[0] != 200:
            time.sleep(0.02)
            continue
        n += 1
        value, o = "%s-%d" % (name, n), got[1]
        expected = int(o["metadata"]["resourceVersion"])
        start = time.monotonic()
        if rng.random() < 0.5:
            o["data"] = {"v": value}
            answer = request(run.api(rng), "PUT", "%s/%s" % (CM, key), o)
        else:
            expected = None
            answer = request(run.api(rng), "PATCH", "%s/%s" % (CM, key), {"data": {"v": value}}, "application/merge-patch+json")
        end = time.monotonic()
        if answer and answer[0] == 200:
            run.writes.append(Write(key, value, expected, start, end, "ok", int(answer[1]["metadata"]["resourceVersion"])))
        else:
            # Refusals that say so; all else may have happened or may still happen.
            refused = answer and answer[0] in (0, 409, 429)
            run.writes.append(Write(key, value, expected, start, end, "refused" if refused else "unknown", None))


def note(run, key, o, start, end, kind, port):
    run.reads.append(Read(key, (o.get("data") or {}).get("v"), int(o["metadata"]["resourceVersion"]), start, end, kind, port))


def reader(run, rng):
    while not run.stop:
        api, start = run.api(rng), time.monotonic()
        if rng.random() < 0.6:
            key = rng.choice(KEYS)
            got = request(api, "GET", "%s/%s" % (CM, key))
            if got and got[0] == 200:
                note(run, key, got[1], start, time.monotonic(), "get", api.port)
        else:
            got = request(api, "GET", CM)
            end = time.monotonic()
            if got and got[0] == 200:
                for o in got[1]["items"]:
                    if o["metadata"]["name"] in KEYS:
                        note(run, o["metadata"]["name"], o, start, end, "list", api.port)
        time.sleep(0.002)


class Watcher(threading.Thread):
    """Follows all changes, over broken connections, from the last revision it has seen. `pieces` are runs of events without a gap: a new one begins
    only where no server could go on from there."""

    def __init__(self, run, rng, revision):
        super().__init__(daemon=True)
        self.run_, self.rng, self.revision = run, rng, revision
        self.pieces, self.start_revision, self.resumed = [(revision, [])], revision, 0

    def handle(self, event):
        meta = event["object"].get("metadata", {})
        if event["type"] == "ERROR":
            return False
        self.revision = int(meta["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self.pieces[-1][1].append((self.revision, meta["name"], (event["object"].get("data") or {}).get("v"), event["type"]))
        return True

    def follow(self, port):
        """True where the server could go on from our revision."""
        api = Api(port, timeout=4)
        c = api.connect()
        try:
            c.request("GET", "%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=30&resourceVersion=%d" % (CM, self.revision), headers=api.headers())
            r = c.getresponse()
            if r.status != 200:
                return r.status != 410
            while not self.run_.stop:
                line = r.readline()
                if not line.endswith(b"\n"):
                    return True
                if not self.handle(json.loads(line)):
                    return False
            return True
        except (OSError, http.client.HTTPException, ValueError):
            return True
        finally:
            c.close()

    def run(self):
        gone = set()
        while not self.run_.stop:
            port = self.rng.choice(self.run_.ports)
            before = self.revision
            if self.follow(port):
                self.resumed += 1
            else:
                gone.add(port)
            if self.revision != before:
                gone.clear()
            if len(gone) < len(self.run_.ports):
                time.sleep(0.01)
                continue
            got = request(Api(port, timeout=8), "GET", CM)
            if got and got[0] == 200:
                self.revision = int(got[1]["metadata"]["resourceVersion"])
                self.pieces.append((self.revision, []))
                gone.clear()


# ---- what happens to them ----

def pause(process, seconds):
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.signal(signal.SIGCONT)


def disturb(site, rng, ports, args):
    """Each disturbance once, in an order and with pauses that the seed decides."""
    def kill_server():
        i = rng.randrange(len(ports))
        site.servers[i].kill()
        time.sleep(rng.uniform(0.1, 0.6))
        start_again(i)
        server_ready(site.servers[i])

    def start_again(i):
        site.servers[i] = site.start_server(*args[i], port=ports[i], advertise="127.0.0.%d" % (i + 1), wait=False)
        site.servers.pop()

    def leave_one():
        """The other one is alone, answers without asking etcd, and then is not any more."""
        i = rng.randrange(len(ports))
        site.servers[i].signal(signal.SIGTERM)
        site.servers[i].p.wait(20)
        time.sleep(rng.uniform(1.5, 2.5))
        start_again(i)
        server_ready(site.servers[i])

    def come_while_stopped():
        """The one that is alone is stopped while another comes, and goes on when that one has told things."""
        i = rng.randrange(len(ports))
        site.servers[i].signal(signal.SIGTERM)
        site.servers[i].p.wait(20)
        time.sleep(rng.uniform(1.5, 2.5))
        alone = site.servers[1 - i]
        alone.signal(signal.SIGSTOP)
        try:
            start_again(i)
            server_ready(site.servers[i])
            time.sleep(rng.uniform(0.1, 0.5))
        finally:
            alone.signal(signal.SIGCONT)

    def pause_server():
        pause(rng.choice(site.servers), rng.uniform(0.5, 1.5))

    def pause_etcd():
        pause(site.etcd, rng.uniform(0.5, 2))

    def compact():
        status = json.loads(site.etcdctl("endpoint", "status", "-w", "json"))
        site.etcdctl("compact", str(status[0]["Status"]["header"]["revision"]))

    def restart_etcd():
        site.etcd.kill()
        time.sleep(rng.uniform(0.1, 0.5))
        site.start_etcd()

    def compact_unseen():
        """Compacts while a server is stopped: its watch comes back to a history that is gone."""
        server = rng.choice(site.servers)
        server.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.3, 0.8))
        compact()
        server.signal(signal.SIGCONT)

    acts = [kill_server, pause_server, pause_etcd, compact, restart_etcd, compact_unseen, kill_server, leave_one, come_while_stopped]
    rng.shuffle(acts)
    for act in acts:
        time.sleep(rng.uniform(0.4, 0.9))
        try:
            act()
        except Exception as e:
            print("note:", act.__name__, repr(e)[:200])
    time.sleep(1)
    return [a.__name__ for a in acts]


# ---- what must hold ----

def judge(run, initial):
    versions = {key: {} for key in KEYS}  # key -> revision -> value
    for key, (revision, value) in initial.items():
        versions[key][revision] = value
    clash = []
    for w in run.watchers:
        for _, events in w.pieces:
            for revision, name, value, kind in events:
                if name in versions and versions[name].setdefault(revision, value) != value:
                    clash.append((name, revision, value))
    check("all watchers tell the same of each revision", not clash, clash[:5])
    order = sorted((revision, key) for key in KEYS for revision in versions[key])
    bad = []
    for w in run.watchers:
        for start, events in w.pieces:
            if not events:
                continue
            mine = [(e[0], e[1]) for e in events if e[1] in versions]
            expected = [x for x in order if start < x[0] <= mine[-1][0]] if mine else []
            if mine != expected:
                lost, extra = sorted(set(expected) - set(mine)), sorted(set(mine) - set(expected))
                bad.append(("lost", lost[:3], "extra", extra[:3], "doubled", len(mine) - len(set(mine)), "ordered", mine == sorted(mine)))
    check("no event is lost, doubled or out of order", not bad, bad[:3])
    values = collections.defaultdict(list)
    for key in KEYS:
        for revision, value in versions[key].items():
            values[value].append((key, revision))
    acknowledged = [w for w in run.writes if w.outcome == "ok"]
    lost = [w for w in acknowledged if versions[w.key].get(w.revision) != w.value]
    check("no acknowledged write is lost", not lost, (len(lost), lost[:2]))
    twice = [v for v, places in values.items() if v and len(places) > 1]
    check("none happens twice", not twice, twice[:5])
    ghosts = [w for w in run.writes if w.outcome == "refused" and w.value in values]
    check("none happens that was refused", not ghosts, ghosts[:3])
    unordered = []
    for w in acknowledged:
        before = max(r for r in versions[w.key] if r < w.revision) if w.expected is not None else None
        if w.expected is not None and before != w.expected:
            unordered.append((w, before))
    check("a write that compares replaces what it compared with", not unordered, unordered[:3])
    # Real time: what began after another had ended sees at least as much. One sweep over begins and ends.
    points = []
    for w in acknowledged:
        points += [(w.end, 1, w.key, w.revision, None), (w.start, 0, w.key, w.revision, w)]
    for r in run.reads:
        points += [(r.end, 1, r.key, r.revision, None), (r.start, 0, r.key, r.revision, r)]
    points.sort(key=lambda p: (p[0], p[1]))
    newest, stale, wrong = {k: 0 for k in KEYS}, [], []
    for at, is_end, key, revision, what in points:
        if is_end:
            newest[key] = max(newest[key], revision)
        elif revision < newest[key]:
            stale.append((what, newest[key]))
    check("no read is stale, no write goes back", not stale, (len(stale), stale[:2]))
    for r in run.reads:
        if versions[r.key].get(r.revision, None) != r.value:
            wrong.append(r)
    check("what is read was written", not wrong, (len(wrong), wrong[:2]))
    print("seed %d: %d writes acknowledged, %d unknown, %d reads, %d events, %d resumptions, %d gaps" % (
        SEED, len(acknowledged), len([w for w in run.writes if w.outcome == "unknown"]), len(run.reads), sum(len(e) for w in run.watchers for _, e in w.pieces),
        sum(w.resumed for w in run.watchers), sum(len(w.pieces) - 1 for w in run.watchers)))
    check("enough has happened", len(acknowledged) > 200 and len(run.reads) > 500)


def main():
    rng = random.Random(SEED)
    site = Site()
    try:
        ports = [free_port(), free_port()]
        args = [["--etcd-compaction-interval", "0"]] * 2
        for i, port in enumerate(ports):
            site.start_server(*args[i], port=port, advertise="127.0.0.%d" % (i + 1))
        run, initial = Run(site, ports), {}
        for key in KEYS:
            s, o = request(Api(ports[0]), "POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key}, "data": {"v": "first-" + key}})
            initial[key] = (int(o["metadata"]["resourceVersion"]), "first-" + key)
        revision = max(r for r, _ in initial.values())
        run.watchers = [Watcher(run, random.Random(rng.random()), revision) for _ in range(WATCHERS)]
        others = [threading.Thread(target=writer, args=(run, "w%d" % i, random.Random(rng.random())), daemon=True) for i in range(WRITERS)]
        others += [threading.Thread(target=reader, args=(run, random.Random(rng.random())), daemon=True) for _ in range(READERS)]
        [t.start() for t in run.watchers + others]
        acts = disturb(site, rng, ports, args)
        # The last writes reach everybody.
        run.stop = True
        [t.join(15) for t in others]
        check("clients end", not any(t.is_alive() for t in others))
        run.stop = False
        finish = Run(site, ports)
        for key in KEYS:
            for _ in range(100):
                answer = request(Api(ports[0]), "PATCH", "%s/%s" % (CM, key), {"data": {"v": "last-" + key}}, "application/merge-patch+json")
                if answer and answer[0] == 200:
                    last = int(answer[1]["metadata"]["resourceVersion"])
                    break
                time.sleep(0.1)
        end = time.time() + 15
        caught_up = lambda: all(w.revision >= last for w in run.watchers)
        # Those whose connection ended while `stop` was set have left: they are started again from where they were.
        for i, w in enumerate(run.watchers):
            if not w.is_alive():
                again = Watcher(run, w.rng, w.revision)
                again.pieces, again.resumed = w.pieces, w.resumed
                run.watchers[i] = again
                again.start()
        while not caught_up() and time.time() < end:
            time.sleep(0.05)
        check("every watcher sees the end", caught_up(), [w.revision for w in run.watchers])
        run.stop = True
        [w.join(6) for w in run.watchers]
        judge(run, initial)
        if servers.failed:
            print("seed", SEED, acts)
            for s in site.servers:
                print("---", s.log, "\n" + s.text()[-1500:])
    finally:
        site.close()
    servers.finish()


main()
