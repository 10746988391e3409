"""The private broker and the private PostgreSQL."""

import os
import stat
from pathlib import Path

import psycopg
import pytest

from ops.launch import broker, postgres
from ops.launch.broker import LONGEST_SOCKET, Broker, NoBroker, answers, socket_path
from ops.launch.postgres import NoPostgres, PostgresCluster


class TestBroker:
    def test_only_its_owner_may_open_it_and_it_listens_nowhere_else(self, tmp_path: Path) -> None:
        with Broker(tmp_path) as started:
            assert answers(started.socket)
            assert stat.S_IMODE(started.socket.stat().st_mode) == 0o700
            assert "--port 0" in " ".join(started.command)
        assert not answers(started.socket)

    def test_starts_over_the_socket_of_one_that_was_killed(self, tmp_path: Path) -> None:
        with Broker(tmp_path) as first:
            first.kill()
            assert first.socket.exists()
            with Broker(tmp_path) as second:
                assert answers(second.socket)

    def test_is_refused_where_one_runs(self, tmp_path: Path) -> None:
        with Broker(tmp_path), pytest.raises(NoBroker, match="A broker already runs on"):
            Broker(tmp_path).start()

    def test_a_folder_with_a_long_name_has_a_short_socket(self, tmp_path: Path) -> None:
        folder = tmp_path / ("long" * 25)
        folder.mkdir()
        assert socket_path(folder) == socket_path(folder)
        assert len(os.fsencode(socket_path(folder))) <= LONGEST_SOCKET
        with Broker(folder) as started:
            assert answers(started.socket)
            assert stat.S_IMODE(started.socket.parent.stat().st_mode) == 0o700
        started.socket.parent.rmdir()

    def test_a_redis_on_the_path_is_preferred(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            broker.shutil, "which", lambda name: f"/bin/{name}" if name == "redis-server" else None
        )
        assert broker.find_server() == "/bin/redis-server"

    def test_without_any_the_cure_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.shutil, "which", lambda name: None)
        monkeypatch.setattr(broker, "find_spec", lambda name: None)
        with pytest.raises(NoBroker, match="install redis-server or valkey, or set REDIS_URL"):
            broker.find_server()


class TestPostgres:
    @pytest.mark.postgres
    def test_serves_over_socket_and_loopback_and_leaves_nothing(self) -> None:
        with PostgresCluster() as cluster:
            url = cluster.create_database("one two")
            for way in (url, cluster.tcp_url("one two")):
                with psycopg.connect(way) as connection:
                    row = connection.execute("select current_database(), current_setting('fsync')").fetchone()
                    assert row == ("one two", "off")
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(cluster.tcp_url("one two").replace(cluster.password, "guess"))
            cluster.drop_database("one two")
        assert not cluster.socket_folder.exists()
        assert not cluster.alive()

    def test_the_newest_is_chosen(self, tmp_path: Path) -> None:
        for version in ("9.6", "15", "17"):
            folder = tmp_path / version / "bin"
            folder.mkdir(parents=True)
            (folder / "initdb").touch()
            (folder / "postgres").touch()
        assert postgres.find_programs(tmp_path) == tmp_path / "17" / "bin"

    def test_without_its_programs_the_cure_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "find_programs", lambda: None)
        with pytest.raises(NoPostgres, match="apt-get install postgresql"):
            PostgresCluster()
