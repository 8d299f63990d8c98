#!/usr/bin/env python3
"""Recorded runs as compact histories: see README.md.

convert.py nanomq FIXTURE OUT SCENARIO...   a folder with pub, sub, db and events.jsonl and nanomq.log; the scenario's text
convert.py run    SUBJECT_DIR OUT           a subject's folder of `replay --out`
"""
import calendar, json, os, re, sys, time

def compact(scenario, records, out):
    """Messages one a line, other records as they are, equal ones of one moment together."""
    messages, others, last = {}, [], None
    for record in sorted(records, key=lambda record: record["t"]):
        event = record["event"]
        if event in ("sent", "acknowledged", "received"):
            row = messages.setdefault((record["load"], record["seq"]), {"sent": None, "acknowledged": None, "received": []})
            if event == "received":
                row["received"].append(record["t"])
            elif row[event] is None:
                row[event] = record["t"]
            continue
        key = (record["t"] // 1000000, event, re.sub(r"\d+", "0", record.get("line", str(len(others)))))
        if event == "log" and last == key:
            others[-1][0] += 1
        else:
            others.append([1, record])
        last = key
    with open(out, "w") as file:
        file.write(scenario)
        for count, record in others:
            file.write(("" if count == 1 else f"x {count} ") + json.dumps(record, separators=(",", ":")) + "\n")
        for (load, seq), row in sorted(messages.items()):
            after = lambda t: "-" if t is None else str(t - row["sent"])
            received = " ".join(after(t) for t in row["received"])
            file.write(f"m {load} {seq} {row['sent']} {after(row['acknowledged'])} {received}".rstrip() + "\n")

def nanomq(folder, out, scenario):
    lines = lambda name: [json.loads(line) for line in open(os.path.join(folder, name))]
    events = lines("events.jsonl")
    publishes = [line["ts"] for line in lines("pub.jsonl") if line["e"] == "pub"]
    # The publishers' clock starts at their first PUBLISH.
    origin = publishes[0] if events[0]["e"] == "pub_start" else events[0]["ts"]
    at = lambda ts: max(0, round((ts - origin) * 1e6))
    records = []
    loads, faults, open_fault, number = {}, 0, None, {}
    for line in lines("pub.jsonl"):
        if line["e"] == "pub":
            load = loads.setdefault(line["t"], None)
            number[line["t"], line["mid"]] = line["s"]
    loads = {topic: index for index, topic in enumerate(sorted(loads))}
    for line in lines("pub.jsonl"):
        if line["e"] == "pub":
            records.append({"t": at(line["ts"]), "event": "sent", "load": loads[line["t"]], "seq": line["s"] - 1})
        elif line["e"] == "ack":
            seq = number[line["t"], line["mid"]] - 1
            records.append({"t": at(line["ts"]), "event": "acknowledged", "load": loads[line["t"]], "seq": seq})
    for line in lines("sub.jsonl"):
        if line["e"] == "msg":
            records.append({"t": at(line["ts"]), "event": "received", "load": loads[line["t"]], "seq": line["s"] - 1})
    rows = None
    for line in lines("db.jsonl"):
        if line["rows"] != rows:
            rows = line["rows"]
            records.append({"t": at(line["ts"]), "event": "counters", "values": {"nanomq_sqlite_rows": rows}})
    records.append({"t": 0, "event": "run", "run": 1, "subject": "nanomq", "version": "0.24.6", "environment": "netns",
                    "remote": "mosquitto 2.0.11", "approximated": []})
    records.append({"t": 0, "event": "receiver_connected", "side": "remote"})
    for event in events:
        t = at(event["ts"])
        if event["e"] == "cut":
            kind = {"silent": "disconnect", "rst": "reset"}[event["mode"]]
            open_fault = {"t": t, "event": "fault_on", "fault": faults, "kind": kind, "on": "remote"}
            faults += 1
            records.append(open_fault)
        elif event["e"] == "kill":
            records.append({"t": t, "event": "fault_on", "fault": faults, "kind": "kill", "on": "bridge"})
            records.append({"t": t, "event": "process_ended", "role": "subject", "status": "signal 9", "wanted": True})
        elif event["e"] == "restarted":
            records.append({"t": t, "event": "fault_off", "fault": faults, "kind": "kill", "on": "bridge"})
            records.append({"t": t, "event": "process_started", "role": "subject", "pid": 2})
        elif event["e"] == "heal":
            records.append({**open_fault, "t": t, "event": "fault_off"})
        elif event["e"] == "settled":
            records.append({"t": t, "event": "settled", "timed_out": False})
    records.append({"t": 0, "event": "process_started", "role": "subject", "pid": 1})
    now = 0
    for line in open(os.path.join(folder, "nanomq.log"), errors="replace"):
        line = line.rstrip().replace("/home/runner/work/nanomq/nanomq/", "/x/")
        dated = re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ", line)
        if dated:
            # It is dated by whole seconds: by the end of that second it had happened.
            now = calendar.timegm(time.strptime(dated[1], "%Y-%m-%d %H:%M:%S")) + 0.999
        if line and "nano_msg_notify" not in line and "nano_pipe_close" not in line and "username" not in line:
            records.append({"t": at(now or origin), "event": "log", "role": "subject", "line": line})
    compact(scenario, records, out)

def run(folder, out):
    plan = json.load(open(os.path.join(folder, "..", "plan.json")))
    plan["directory"], plan["subjects"] = "", [s for s in plan["subjects"] if s["name"] == os.path.basename(folder.rstrip("/"))]
    records = []
    for line in open(os.path.join(folder, "history.jsonl")):
        record = json.loads(line)
        if record["event"] == "usage" or record.get("role") in ("remote", "helper"):
            continue
        if record["event"] == "log":
            if re.search(r"Saving in-memory|New c|Client lab-|listening|metrics on|Config loaded", record["line"]):
                continue
            record["line"] = re.sub(r"(/[\w.-]+){2,}", "/x", record["line"])
        records.append(record)
    # Of the samples that are alike the first, and the last one of all.
    kept, before = [], None
    samples = [record for record in records if record["event"] == "counters"]
    for record in records:
        if record["event"] == "counters":
            values = {k: v for k, v in record["values"].items() if v or "delivered" in k or "accepted" in k or "connected" in k}
            watched = [v for k, v in values.items() if "connected" in k or "dropped" in k]
            if watched == before and record is not samples[-1]:
                continue
            before, record = watched, {**record, "values": values}
        kept.append(record)
    compact("P " + json.dumps(plan, separators=(",", ":")) + "\n", kept, out)

if sys.argv[1] == "nanomq":
    nanomq(sys.argv[2], sys.argv[3], "".join(f"S {line}\n" for line in open(sys.argv[4]).read().splitlines()))
else:
    run(sys.argv[2], sys.argv[3])
