#!/bin/bash
# What a container of gpusim does when it starts.
#
#   (nothing), serve    Jupyter Lab, behind a token, and an SSH server, for keys alone
#   train, eval, ...    that command of gpusim, and nothing else
#   bash, python, ...   that program
#
# GPUSIM_TOKEN      of Jupyter; one is drawn and printed where it is not set
# GPUSIM_SSH_KEY    public keys that may log in, one a line; without any, SSH is not started
# GPUSIM_JUPYTER_PORT, GPUSIM_SSH_PORT    where they listen inside of the container: 8888 and 22
# GPUSIM_ADDRESS    on which address: 0.0.0.0, all that the container has
set -euo pipefail

say() { printf 'gpusim: %s\n' "$*"; }

refuse() {
    printf 'gpusim: %s\n' "$*" >&2
    exit 2
}

here=${GPUSIM_HOME:-/opt/gpusim}
jupyter_port=${GPUSIM_JUPYTER_PORT:-8888}
ssh_port=${GPUSIM_SSH_PORT:-22}
address=${GPUSIM_ADDRESS:-0.0.0.0}

check_user() {
    [ "$(id -u)" -ne 0 ] || refuse "this would open a server as root: leave --user root out, the image has a user of its own."
    if [ ! -w "$PWD" ]; then
        say "$PWD cannot be written by user $(id -u): runs cannot be kept there. Build the image with --build-arg UID=\$(id -u)."
    fi
    if [ ! -w "${HOME:-/}" ]; then
        HOME=$(mktemp -d)
        export HOME
    fi
}

# The token: that of GPUSIM_TOKEN, or a new one. An empty or a short one would leave the door open.
choose_token() {
    token=${GPUSIM_TOKEN-$(python -c 'import secrets; print(secrets.token_hex(24))')}
    unset GPUSIM_TOKEN
    [ "${#token}" -ge 16 ] || refuse "GPUSIM_TOKEN has ${#token} characters and needs 16: whoever guesses it has this machine. Leave it unset, and one is drawn."
}

start_ssh() {
    if [ -z "${GPUSIM_SSH_KEY:-}" ]; then
        say "SSH is not started, as no key may log in: start with -e GPUSIM_SSH_KEY=\"\$(cat ~/.ssh/id_ed25519.pub)\"."
        return
    fi
    if ! getent passwd "$(id -u)" > /dev/null; then
        say "SSH is not started, as user $(id -u) has no name here: build the image with --build-arg UID=\$(id -u)."
        return
    fi
    ssh_folder=$(mktemp -d)
    printf '%s\n' "$GPUSIM_SSH_KEY" > "$ssh_folder/authorized_keys"
    chmod 600 "$ssh_folder/authorized_keys"
    ssh-keygen -l -f "$ssh_folder/authorized_keys" > /dev/null 2>&1 || refuse "GPUSIM_SSH_KEY holds no public key: it should begin like ssh-ed25519 AAAA."
    unset GPUSIM_SSH_KEY
    ssh-keygen -q -t ed25519 -N '' -f "$ssh_folder/host_key"
    cat > "$ssh_folder/sshd_config" << CONFIG
Port $ssh_port
ListenAddress $address
HostKey $ssh_folder/host_key
PidFile $ssh_folder/pid
AuthorizedKeysFile $ssh_folder/authorized_keys
StrictModes no
UsePAM no
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers $(id -un)
SetEnv PATH=$PATH
Subsystem sftp internal-sftp
CONFIG
    "${GPUSIM_SSHD:-/usr/sbin/sshd}" -D -e -f "$ssh_folder/sshd_config" 2> "$ssh_folder/log" &
    sleep 0.5
    if ! kill -0 $! 2> /dev/null; then
        refuse "SSH did not start: $(tail -n 1 "$ssh_folder/log")"
    fi
    say "SSH as $(id -un) on port $ssh_port, for the keys given; the host's key is $(ssh-keygen -l -f "$ssh_folder/host_key.pub" | cut -d' ' -f2)"
}

serve() {
    check_user
    choose_token
    python "$here/check.py"
    start_ssh
    if [ ! -e examples ] && [ -w . ] && [ -d "${GPUSIM_EXAMPLES:-/opt/examples}" ]; then
        cp -r "${GPUSIM_EXAMPLES:-/opt/examples}" examples
    fi
    say "Jupyter Lab: http://127.0.0.1:$jupyter_port/lab?token=$token"
    export JUPYTER_TOKEN=$token
    exec jupyter lab --no-browser --ip="$address" --port="$jupyter_port" --port-retries=0 \
        --ServerApp.password= --ServerApp.root_dir="$PWD"
}

case "${1:-serve}" in
    serve) serve ;;
    bash | sh | python | python3 | pip | jupyter | tensorboard | /*) exec "$@" ;;
    *)
        python "$here/check.py" --quiet
        exec gpusim "$@"
        ;;
esac
