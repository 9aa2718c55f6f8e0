"""A real S3 server for tests: OpenStack Swift with its s3api, four servers in this one process, on loopback.

usage: python swift_server.py FOLDER ACCOUNT:USER SECRET    prints its URL when it listens
"""

import eventlet

eventlet.monkey_patch()

import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import eventlet.wsgi  # noqa: E402

PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo "
    "versioned_writes symlink proxy-server"
)


def main(folder: Path, access_key: str, secret: str) -> None:
    etc, devices = folder / "etc", folder / "srv"
    etc.mkdir(parents=True)
    (devices / "disk").mkdir(parents=True)
    configure_hash(etc)

    from swift.common import wsgi
    from swift.common.storage_policy import reload_storage_policies

    reload_storage_policies()
    quiet = logging.getLogger("swift-server")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    pool = eventlet.GreenPool(1000)

    def serve(listener: Any, app: Any) -> None:
        eventlet.wsgi.server(
            listener,
            app,
            log=quiet,
            log_output=False,
            custom_pool=pool,
            protocol=wsgi.SwiftHttpProtocol,
            capitalize_response_headers=False,
        )

    for kind in ("account", "container", "object"):
        listener = listen()
        build_ring(etc, kind, listener.getsockname()[1])
        config = etc / f"{kind}-server.conf"
        config.write_text(
            f"[DEFAULT]\nswift_dir = {etc}\ndevices = {devices}\nmount_check = false\n"
            "disable_fallocate = true\nfallocate_reserve = 0\nlog_level = ERROR\n"
            f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
        )
        eventlet.spawn(serve, listener, wsgi.loadapp(str(config), global_conf={"log_name": kind}))
    proxy = etc / "proxy-server.conf"
    proxy.write_text(proxy_config(etc, access_key, secret))
    app = wsgi.loadapp(str(proxy), global_conf={"log_name": "proxy"})
    front = listen()
    print(f"http://127.0.0.1:{front.getsockname()[1]}", flush=True)
    serve(front, app)


def configure_hash(etc: Path) -> None:
    config = etc / "swift.conf"
    config.write_text(
        "[swift-hash]\nswift_hash_path_prefix = test\nswift_hash_path_suffix = test\n"
        "[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    os.environ["SWIFT_DIR"] = str(etc)
    import swift.common.utils
    import swift.common.utils.config

    # Both hold the path /etc/swift/swift.conf from their import on.
    for module in (swift.common.utils, swift.common.utils.config):
        if hasattr(module, "SWIFT_CONF_FILE"):
            module.SWIFT_CONF_FILE = str(config)
    swift.common.utils.validate_hash_conf()


def build_ring(etc: Path, kind: str, port: int) -> None:
    from swift.common.ring.builder import RingBuilder

    ring = RingBuilder(2, 1, 0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0})
    ring.rebalance()
    ring.get_ring().save(str(etc / f"{kind}.ring.gz"))


def proxy_config(etc: Path, access_key: str, secret: str) -> str:
    account, user = access_key.split(":")
    options = {
        "s3api": "s3_acl = false\nlocation = us-east-1",
        "tempauth": f"user_{account}_{user} = {secret} .admin",
        "slo": "rate_limit_after_segment = 10000",
        "versioned_writes": "allow_versioned_writes = true",
    }
    filters = "".join(
        f"[filter:{name}]\nuse = egg:swift#{name}\n{options.get(name, '')}\n"
        for name in PIPELINE.split()[:-1]
    )
    return (
        f"[DEFAULT]\nswift_dir = {etc}\nlog_level = ERROR\n[pipeline:main]\npipeline = {PIPELINE}\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\n"
        f"account_autocreate = true\n{filters}"
    )


def listen() -> socket.socket:
    listener = eventlet.listen(("127.0.0.1", 0), backlog=512, reuse_port=False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3])
