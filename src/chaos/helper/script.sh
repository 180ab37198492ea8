# What a helper pod runs on a node, in its processes' namespace and as root. Its orders are in its environment:
#   MODE       hold: heal, inject, wait, heal       heal: heal       check: only look
#   WHAT       kill, stop, cpu, memory, disk, partition
#   MARK       the run; everything that is left carries it
#   CONTAINER  the container's id      UNTIL  when to heal, in seconds since 1970     AMOUNT, WHERE, PEER  as WHAT wants
# It ends with 0 only if what it was to see was seen.
export DAVIT_MARK="$MARK"
host=/proc/1/root
evidence=/tmp/evidence

pids() { # of the container
    for folder in /proc/[0-9]*; do
        grep -qs "$CONTAINER" "$folder/cgroup" && ! grep -qsz "^DAVIT_MARK=" "$folder/environ" && echo "${folder#/proc/}"
    done
}
first() { # the container's own process 1
    for pid in $(pids); do
        last=
        for last in $(grep '^NSpid:' "/proc/$pid/status" 2>/dev/null); do :; done
        [ "$last" = 1 ] && echo "$pid" && return
    done
}
carriers() { # what this run left in the container's control group
    for folder in /proc/[0-9]*; do
        pid=${folder#/proc/}
        [ "$pid" != $$ ] && grep -qsz "^DAVIT_CARRIER=$MARK$" "$folder/environ" && echo "$pid"
    done
}
state() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1; }
groups() { # the container's control groups, of every controller
    glob=$host/sys/fs/cgroup
    for depth in 1 2 3 4 5 6 7 8; do
        glob="$glob/*"
        for folder in $glob; do
            case ${folder##*/} in *"$CONTAINER"*) [ -e "$folder/cgroup.procs" ] && echo "$folder" ;; esac
        done
    done
}
tool() { if command -v "$1" >/dev/null 2>&1; then "$@"; else chroot $host "$@"; fi; }
net() { tool nsenter --net="/proc/$(first)/ns/net" iptables -w 5 "$@"; }
ballast() { echo "/proc/$(first)/root$WHERE/davit-$MARK"; }
chain=DAVIT-$(echo "$MARK" | sed 's/.*-//')

heal() {
    case $WHAT in
        stop) for pid in $(pids); do kill -CONT "$pid" 2>/dev/null; done ;;
        cpu | memory) for pid in $(carriers); do kill -KILL "$pid" 2>/dev/null; done ;;
        disk) [ -n "$(first)" ] && rm -f "$(ballast)" ;;
        partition)
            [ -n "$(first)" ] || return 0
            for hook in INPUT OUTPUT; do while net -D $hook -j "$chain" 2>/dev/null; do :; done; done
            net -F "$chain" 2>/dev/null
            net -X "$chain" 2>/dev/null
            ;;
    esac
    return 0
}
check() { # 0 if nothing of this run is left
    case $WHAT in
        stop) for pid in $(pids); do [ "$(state "$pid")" != T ] || return 1; done ;;
        cpu | memory) [ -z "$(carriers)" ] ;;
        disk) [ -z "$(first)" ] || [ ! -e "$(ballast)" ] ;;
        partition) [ -z "$(first)" ] || ! net -S "$chain" >/dev/null 2>&1 ;;
        *) true ;;
    esac
}
settled() { # healing takes the kernel a moment
    for again in 1 2 3 4 5 6 7 8 9 10; do check && return 0; heal; sleep 1; done
    return 1
}
carry() { # a process in the container's control groups, which knows when to end
    DAVIT_CARRIER=$MARK GROUPS_OF="$(groups)" sh -c '
        for folder in $GROUPS_OF; do echo $$ >"$folder/cgroup.procs" 2>/dev/null; done
        eval "$1"' carrier "$1" &
}
inject() {
    case $WHAT in
        kill) kill -"$AMOUNT" "$(first)" ;;
        stop) for pid in $(pids); do kill -STOP "$pid"; done ;;
        cpu)
            for number in $(seq_to "$AMOUNT"); do
                carry 'while [ "$(date +%s)" -lt '"$UNTIL"' ]; do i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; done'
            done
            ;;
        memory) carry 'dd if=/dev/zero bs='"$AMOUNT"'M count=1 2>/dev/null | sleep $(('"$UNTIL"' - $(date +%s)))' ;;
        disk) dd if=/dev/zero of="$(ballast)" bs=1M count="$AMOUNT" 2>/dev/null; true ;;
        partition)
            stop_at=$(date -u -d "@$UNTIL" +%Y-%m-%dT%H:%M:%S)
            net -N "$chain" || return 1
            # The rule ends in the kernel, also when nobody is left to take it away.
            if [ -n "${PEER:-}" ]; then
                net -A "$chain" -s "$PEER" -m time --datestop "$stop_at" -j DROP
                net -A "$chain" -d "$PEER" -m time --datestop "$stop_at" -j DROP
            else
                net -A "$chain" -m time --datestop "$stop_at" -j DROP
            fi || return 1
            net -I INPUT -j "$chain" && net -I OUTPUT -j "$chain"
            ;;
    esac
}
seq_to() { number=1; while [ $number -le "$1" ]; do echo $number; number=$((number + 1)); done; }
seen() { # what shows that it took effect; nothing if it did not
    case $WHAT in
        stop)
            running=0 all=0
            for pid in $(pids); do all=$((all + 1)); [ "$(state "$pid")" = T ] || running=$((running + 1)); done
            [ $all -gt 0 ] && [ $running = 0 ] && echo "all $all processes of the container are stopped"
            ;;
        cpu | memory)
            group=$(groups | sed -n 1p) count=0
            for pid in $(carriers); do grep -qsx "$pid" "$group/cgroup.procs" && count=$((count + 1)); done
            [ $count -gt 0 ] || return
            if [ "$WHAT" = memory ]; then
                for pid in $(carriers); do
                    kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
                    [ "${kib:-0}" -ge $((AMOUNT * 900)) ] && echo "a process in the container's control group holds $kib KiB"
                done | sed -n 1p
            else
                [ $count -ge "$AMOUNT" ] && echo "$count busy processes run in the container's control group"
            fi
            ;;
        disk) [ -s "$(ballast)" ] && echo "$(stat -c %s "$(ballast)") bytes of ballast lie in the container, $(stat -f -c '%a blocks of %S' "/proc/$(first)/root$WHERE") are free" ;;
        partition) net -L "$chain" -n -v -x | sed -n 's/^ *\([1-9][0-9]*\) .*DROP.*/\1 packets were dropped by our own chain/p' | sed -n 1p ;;
    esac
}

case $MODE in
    check) check ;;
    heal) heal; settled ;;
    hold)
        trap 'heal; exit 0' TERM INT
        heal
        [ -n "$(first)" ] || { echo "the container is not on this node" >&2; exit 3; }
        [ "$(date +%s)" -lt "$UNTIL" ] || exit 0
        inject || { heal; exit 4; }
        while [ "$(date +%s)" -lt "$UNTIL" ]; do
            seen >$evidence.new 2>/dev/null && mv $evidence.new $evidence
            sleep 0.2 || sleep 1
        done
        heal
        settled
        ;;
esac
