"""One scenario between Paho's clients and a broker: HOST PORT SCENARIO. Exit code 0 where it holds."""

import queue
import sys
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = float(sys.argv[4]) if len(sys.argv) > 4 else 10
HOST, PORT = sys.argv[1], int(sys.argv[2])


class Client:
    """A client of one version, connected; messages wait in a queue."""

    def __init__(self, version, will=None):
        arguments = {"client_id": uuid.uuid4().hex, "protocol": version}
        if hasattr(mqtt, "CallbackAPIVersion"):
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        if version != mqtt.MQTTv5:
            arguments["clean_session"] = True
        self.client = mqtt.Client(**arguments)
        self.version, self.topic = version, "paho/" + uuid.uuid4().hex
        self.messages, self.connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_connect = lambda *arguments: self.connected.put(arguments[3])
        self.client.on_subscribe = lambda *arguments: self.subscribed.put(arguments[3])
        if will:
            self.client.will_set(will, "will", 1)
        self.client.connect(HOST, PORT, 30)
        self.client.loop_start()
        assert self.connected.get(timeout=PATIENCE) == 0, "CONNACK"

    def subscribe(self, topic, qos=2):
        self.client.subscribe(topic, qos)
        codes = self.subscribed.get(timeout=PATIENCE)
        assert int(getattr(codes[0], "value", codes[0])) == qos, f"SUBACK {codes[0]}"

    def publish(self, topic, text, qos, retain=False, properties=None):
        more = {"properties": properties} if properties else {}
        self.client.publish(topic, text, qos, retain, **more).wait_for_publish(PATIENCE)

    def message(self):
        return self.messages.get(timeout=PATIENCE)

    def cut(self):
        self.client.loop_stop()
        self.client.socket().close()


def every_qos(version):
    one, two = Client(version), Client(version)
    one.subscribe(one.topic + "/+")
    for qos in range(3):
        properties = None
        if version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = "text/plain"
            properties.UserProperty = [("a", "1"), ("b", "2")]
        for number in range(20):
            two.publish(f"{one.topic}/{qos}", f"{qos} {number}", qos, properties=properties)
        for number in range(20):
            message = one.message()
            assert (message.payload.decode(), message.qos) == (f"{qos} {number}", qos), message.payload
            if version == mqtt.MQTTv5:
                assert message.properties.ContentType == "text/plain"
                assert message.properties.UserProperty == [("a", "1"), ("b", "2")]


def retained(version):
    one, two = Client(version), Client(version)
    two.publish(one.topic, "first", 1, retain=True)
    two.publish(one.topic, "last", 1, retain=True)
    one.subscribe(one.topic)
    message = one.message()
    assert (message.payload, message.retain) == (b"last", True), message.payload
    two.publish(one.topic, "", 1, retain=True)
    assert one.message().payload == b""
    three = Client(version)
    three.subscribe(one.topic)
    two.publish(one.topic, "new", 1)
    assert three.message().payload == b"new"


def will(version):
    one = Client(version)
    one.subscribe(one.topic)
    Client(version, will=one.topic).cut()
    assert one.message().payload == b"will"


def shared(version):
    if version != mqtt.MQTTv5:
        return
    members = [Client(version) for _ in range(3)]
    topic = members[0].topic
    for member in members:
        member.subscribe(f"$share/group/{topic}", 1)
    last = Client(version)
    last.subscribe(topic, 1)
    for number in range(30):
        last.publish(topic, str(number), 1)
    assert sorted(int(last.message().payload) for _ in range(30)) == list(range(30))
    found = []
    for member in members:
        member.subscribe(topic + "/last", 1)
        last.publish(topic + "/last", "", 1)
        while (message := member.message()).topic == topic:
            found.append(int(message.payload))
    assert sorted(found) == list(range(30)), sorted(found)


for version in (mqtt.MQTTv311, mqtt.MQTTv5):
    {"every_qos": every_qos, "retained": retained, "will": will, "shared": shared}[sys.argv[3]](version)
