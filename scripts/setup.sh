#!/usr/bin/env bash
# Prepares a clone: `setup.sh run` for the product alone (wheels only), `setup.sh test` for its tests as well.
#
# - .venv is made once; pip runs again only when setup.cfg, pyproject.toml or the Python changes;
# - `test` also wants a few system packages: installed by apt where we are root on Debian or Ubuntu, else named in one
#   sentence (their tests are skipped then; in CI, where `CI` is set, they fail);
# - nothing is started: no database cluster, no service.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
mode=${1:-test}

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

is_apt_root() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && grep -qsE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

# Runs a command in silence; when it fails, shows the end of what it said.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "\`$*\` failed: the lines above say why."
  fi
  rm -f "$log"
}

apt_install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  quietly "${apt[@]}" update
  quietly "${apt[@]}" install -y --no-install-recommends "$@"
}

make_venv() {
  command -v "$python" >/dev/null || die "Python is missing: install Python 3.11 or newer."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Replay Vault needs Python 3.11 or newer; $("$python" -V) is older: set PYTHON=/path/to/python3.11."
  [ -x .venv/bin/pip ] && .venv/bin/python -c '' 2>/dev/null && return
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    is_apt_root || die "Python's venv module is missing: run \`sudo apt-get install python3-venv\`."
    apt_install python3-venv
  fi
  say "Making .venv"
  "$python" -m venv --clear .venv
}

install_wheels() {
  local target=$1 stamp=.venv/installed-$mode want
  want="$(cat setup.cfg pyproject.toml | cksum) $(.venv/bin/python -V) $PWD"
  [ "$(cat .venv/installed-test 2>/dev/null)" = "$want" ] && return # holds what `run` needs, too
  [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
  say "Installing Replay Vault into .venv (pip install -e '$target')"
  quietly .venv/bin/python -m pip install --quiet --disable-pip-version-check -e "$target"
  printf '%s' "$want" >"$stamp"
}

missing_packages() {
  local pair
  for pair in ffmpeg:ffmpeg ffprobe:ffmpeg espeak-ng:espeak-ng strace:strace; do
    command -v "${pair%%:*}" >/dev/null || printf '%s\n' "${pair#*:}"
  done
  # Ubuntu's package `chromium` is only a pointer to a snap.
  if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if grep -qs '^ID=ubuntu' /etc/os-release; then
      say "The browser's tests need Google Chrome: install google-chrome-stable from https://www.google.com/chrome."
    else
      printf 'chromium\n'
    fi
  fi
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || printf 'postgresql\n'
}

install_system_packages() {
  local packages no_cluster=
  mapfile -t packages < <(missing_packages | sort -u)
  [ ${#packages[@]} = 0 ] && return
  if ! is_apt_root; then
    say "Some tests need more: run \`sudo apt-get install ${packages[*]}\`."
    return
  fi
  say "Installing ${packages[*]} (apt-get)"
  if [[ " ${packages[*]} " == *" postgresql "* ]]; then
    # The tests start clusters of their own; the package shall not make and start the usual one.
    no_cluster=/etc/postgresql-common/createcluster.d/replay-vault-tests.conf
    mkdir -p "${no_cluster%/*}"
    printf 'create_main_cluster = false\n' >"$no_cluster"
    # shellcheck disable=SC2064 # the path as it is now
    trap "rm -f '$no_cluster'" EXIT
  fi
  apt_install "${packages[@]}"
}

case $mode in
  run)
    make_venv
    install_wheels .
    ;;
  test)
    make_venv
    install_wheels '.[test]'
    install_system_packages
    ;;
  *) die "usage: scripts/setup.sh run|test" ;;
esac
