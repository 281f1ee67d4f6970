#!/bin/bash
# The startup script of every VM of a sweep: brings the launcher's package here and hands over to its bootstrap.
# Needs bash and python3 >= 3.8. Runs again at every boot; what is here already is not fetched again.
#
# Attributes of the instance that it reads: hydra-gce-bucket, hydra-gce-sweep, hydra-gce-launcher and
# hydra-gce-environment (names of objects below hydra-gce/ in the bucket), hydra-gce-keep-failed, hydra-gce-container
# (the name of an image: the bootstrap, and all that comes after it, runs in it).
# Where anything fails: the reason on the serial console, the last lines of the console in the bucket, and the VM
# deletes itself, unless hydra-gce-keep-failed is "true". A VM that may not delete itself is powered off: only its disk
# costs then.

[ -n "$HOME" ] || HOME=~ # Google's runner of startup scripts sets none
HYDRA_GCE_STARTUP=$(date +%s)
export HOME HYDRA_GCE_STARTUP HYDRA_GCE_PREFIX="${HYDRA_GCE_PREFIX:-/opt/hydra-gce}"
console="$HYDRA_GCE_PREFIX/console.log"
mkdir -p "$HYDRA_GCE_PREFIX" || exit 1
# At a shutdown everything gets SIGTERM; the agent must still be able to write while it saves.
exec > >(trap '' HUP INT TERM; exec tee "$console") 2>&1
trap 'going_down=1' TERM

read -r -d '' program <<'PYTHON'
import hashlib, http.client, json, os, re, shutil, subprocess, sys, time, urllib.error, urllib.parse, urllib.request
import zipfile

METADATA = "http://%s/computeMetadata/v1/" % os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
STORAGE = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com").rstrip("/")
COMPUTE = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "https://compute.googleapis.com/compute/v1/")
PREFIX = os.environ["HYDRA_GCE_PREFIX"]
PAUSES = (0.1, 0.2, 0.5, 1, 2, 4, 8, 16, None)  # the network may come up after us
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to the metadata server


class Refused(Exception):
    pass


def say(line):
    print("hydra-gce: " + line, flush=True)


def answer_of(url, what, headers, opener=urllib.request.urlopen, **request):
    for pause in PAUSES:
        try:
            with opener(urllib.request.Request(url, headers=headers, **request), timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            said = " ".join(re.sub("<[^>]*>", " ", error.read(2000).decode(errors="replace")).split())
            again = error.code in (408, 429) or error.code >= 500 or "ateLimitExceeded" in said
            if pause is None or not again:
                raise Refused("%s: HTTP %d %s" % (what, error.code, said[:200]))
        except (OSError, http.client.HTTPException) as error:
            if pause is None:
                raise Refused("%s: %s" % (what, error))
        time.sleep(pause)


def metadata(path, what="the metadata server"):
    return json.loads(answer_of(METADATA + path, what, {"Metadata-Flavor": "Google"}, DIRECT.open).decode())


class Machine:
    def __init__(self):
        tree = metadata("?recursive=true&alt=json")
        self.name = tree["instance"]["name"]
        self.url = COMPUTE + "projects/%s/zones/%s/instances/%s" % (
            tree["project"]["projectId"], tree["instance"]["zone"].split("/")[-1], self.name,
        )
        self.attributes = tree["instance"].get("attributes", {})
        token = metadata("instance/service-accounts/default/token", "the token of this VM's service account")
        self.token = token["access_token"]
        self.headers = {"Authorization": "Bearer " + self.token}

    def attribute(self, name):
        if not self.attributes.get(name):
            raise Refused("this VM's metadata has no attribute " + name)
        return self.attributes[name]

    def fetch(self, name):
        bucket = self.attribute("hydra-gce-bucket")
        url = "%s/storage/v1/b/%s/o/%s?alt=media" % (STORAGE, bucket, urllib.parse.quote("hydra-gce/" + name, ""))
        content = answer_of(url, "gs://%s/hydra-gce/%s" % (bucket, name), self.headers)
        if hashlib.sha256(content).hexdigest() != digest_in(name):
            raise Refused("gs://%s/hydra-gce/%s is not what its name says; it was not used" % (bucket, name))
        return content

    def store(self, name, content):
        bucket = self.attribute("hydra-gce-bucket")
        name = urllib.parse.quote("hydra-gce/" + name, "")
        url = "%s/upload/storage/v1/b/%s/o?uploadType=media&name=%s" % (STORAGE, bucket, name)
        headers = dict(self.headers, **{"Content-Type": "text/plain; charset=utf-8"})
        answer_of(url, "gs://%s" % bucket, headers, data=content, method="POST")

    def delete(self):
        answer_of(self.url, "Compute Engine", self.headers, method="DELETE")


def digest_in(name):
    return os.path.basename(name).partition(".")[0]


def boot():
    machine = Machine()
    launcher = unpacked(machine, machine.attribute("hydra-gce-launcher"))
    wanted = written(machine, machine.attribute("hydra-gce-environment"))
    bootstrap = os.path.join(launcher, "hydra_gce", "agent", "bootstrap.py")
    image = machine.attributes.get("hydra-gce-container")
    if image:
        enter_container(image, machine.token, [bootstrap, wanted, launcher])
    os.execv(sys.executable, [sys.executable, "-I", "-S", bootstrap, wanted, launcher])


# What the container's program must know of this machine and its cloud.
TOLD = re.compile("GCE_METADATA_HOST|STORAGE_EMULATOR_HOST|CLOUDSDK_.*|GOOGLE_CLOUD_PROJECT|HYDRA_GCE_STARTUP"
                  "|((HTTPS?|ALL|NO)_PROXY)", re.IGNORECASE)
IN_CONTAINER = '''
for python in python3 python; do
    if "$python" -c "import sys; sys.exit(sys.version_info < (3, 8))" 2> /dev/null; then
        exec "$python" -I -S "$@"
    fi
done
echo "hydra-gce: container: $0 has no python3 of version 3.8 or later on its PATH; take an image that has one"
exit 1
'''


def enter_container(image, token, arguments):
    docker = docker_here()
    # Its login is nobody else's, and goes with this directory.
    os.environ["DOCKER_CONFIG"] = os.path.join(PREFIX, "docker")
    host = image.partition("/")[0]
    if host.endswith("-docker.pkg.dev") or host == "gcr.io" or host.endswith(".gcr.io"):
        # https://cloud.google.com/artifact-registry/docs/docker/authentication#token
        login = [docker, "login", "--username", "oauth2accesstoken", "--password-stdin", "https://" + host]
        done = subprocess.run(login, input=token.encode(), stdout=subprocess.DEVNULL)
        if done.returncode:
            raise Refused("container: docker login at %s failed; may this VM's service account read there?" % host)
    pull(docker, image)
    # What is made in this image does not fit another, or the machine itself.
    prefix = os.path.join(PREFIX, "containers", hashlib.sha256(image.encode()).hexdigest()[:16])
    os.makedirs(prefix, exist_ok=True)
    subprocess.run([docker, "rm", "--force", "hydra-gce"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = [docker, "run", "--rm", "--init", "--name", "hydra-gce", "--user", "0:0", "--workdir", "/"]
    command += ["--network", "host", "--ipc", "host", "--stop-timeout", "60"]
    if shutil.which("nvidia-smi") or os.path.exists("/dev/nvidiactl"):
        command += ["--gpus", "all"]
    for path in (prefix, os.path.join(PREFIX, "launcher"), os.path.join(PREFIX, "wanted")):
        command += ["--volume", "%s:%s:%s" % (path, path, "rw" if path == prefix else "ro")]
    for name in sorted(filter(TOLD.fullmatch, os.environ)):
        command += ["--env", name]
    command += ["--env", "HYDRA_GCE_PREFIX=" + prefix, "--env", "HYDRA_GCE_CONTAINER=" + image]
    command += ["--entrypoint", "/bin/sh", image, "-c", IN_CONTAINER, image] + arguments
    say("container: " + image)
    os.execv(docker, command)


def docker_here():
    if not shutil.which("docker"):
        say("container: this machine has no Docker; installing it")
        quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
        for command in (apt + ["update"], apt + ["install", "--no-install-recommends", "docker.io"]):
            if not shutil.which("apt-get") or subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL).returncode:
                raise Refused(
                    "container: this machine has no Docker, and \"%s\" failed; for hydra.launcher.vm.container take a"
                    " hydra.launcher.vm.image that has Docker, or apt-get and a way to its packages" % " ".join(command)
                )
    return shutil.which("docker") or "/usr/bin/docker"


def pull(docker, image):
    for pause in (1, 3, None):
        if subprocess.run([docker, "pull", "--quiet", image], stdin=subprocess.DEVNULL).returncode == 0:
            return
        if pause:
            time.sleep(pause)
    inspect = [docker, "image", "inspect", image]
    if subprocess.run(inspect, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise Refused("container: %s cannot be pulled; Docker's words stand above" % image)
    say("container: %s cannot be pulled; the one on this disk is taken" % image)


def unpacked(machine, name):
    path = os.path.join(PREFIX, "launcher", digest_in(name))
    if not os.path.isdir(path):
        content = machine.fetch(name)
        part = "%s.%d.part" % (path, os.getpid())
        os.makedirs(part, exist_ok=True)
        with open(os.path.join(part, ".whl"), "wb") as file:
            file.write(content)
        with zipfile.ZipFile(file.name) as wheel:
            wheel.extractall(part)
        os.remove(file.name)
        os.rename(part, path)
    return path


def written(machine, name):
    path = os.path.join(PREFIX, "wanted", digest_in(name) + ".json")
    if not os.path.exists(path):
        content = machine.fetch(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".part", "wb") as file:
            file.write(content)
        os.rename(path + ".part", path)
    return path


def give_up(last_line):
    machine = Machine()
    try:
        name = "sweeps/%s/boot/%s" % (machine.attribute("hydra-gce-sweep"), machine.name)
        machine.store(name, last_lines(last_line))
    except Refused as refusal:
        say("the boot failure could not be reported: %s" % refusal)
    if machine.attributes.get("hydra-gce-keep-failed") == "true":
        say("this VM is kept, as hydra-gce-keep-failed says")
    else:
        machine.delete()


def last_lines(last_line):
    end = time.monotonic() + 2  # tee may be a moment behind
    while True:
        with open(os.path.join(PREFIX, "console.log"), "rb") as console:
            lines = console.read().splitlines()[-50:]
        if last_line.encode() in lines or time.monotonic() > end:
            return b"\n".join(lines) + b"\n"
        time.sleep(0.02)


try:
    boot() if len(sys.argv) == 1 else give_up(sys.argv[1])
except (Refused, OSError, zipfile.BadZipFile) as error:
    say(str(error))
    sys.exit(1)
PYTHON

power_off() {
    echo "hydra-gce: this VM is not deleted; powering it off: only its disk costs until somebody deletes both"
    poweroff || shutdown -h now || echo "hydra-gce: it cannot be powered off; its maxRunDuration ends it"
}

python3 -I -S -c "$program"
code=$?
if [ $code -eq 76 ]; then # the agent's work is over, and its VM's deletion was refused
    power_off
elif [ $code -ne 0 ] && [ -z "$going_down" ]; then
    line="hydra-gce: ended with exit code $code; the lines above say why"
    echo "$line"
    python3 -I -S -c "$program" "$line" || power_off
fi
exit $code
