# What a helper pod runs on a node, as root and among all processes of the node. Its orders are in its environment:
#   MODE       hold: heal, wait for the word, inject, wait, heal       heal: heal       check: only look
#   WHAT       kill, stop, cpu, memory, disk, partition, latency; gone: to check, wait until nothing of the pod runs here
#   MARK       the run; everything that is left carries it
#   POD        the pod's uid      CONTAINER  the container's id
#   LASTS      how many seconds the fault is left in place      LATEST  when the word comes too late, in seconds since 1970
#   ADDRESS    the pod's       AMOUNT, WHERE, FLOOR, PEERS   as WHAT wants
# It ends with 0 only if what it was to see was seen. Started again it heals, and injects nothing: the word was for the first.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DAVIT_MARK="$MARK" PATH
host=/proc/1/root
evidence=/tmp/evidence
word=/tmp/go

say() { echo "$*" >&2; }
now() { date +%s; }
seq_to() { number=1; while [ $number -le "$1" ]; do echo $number; number=$((number + 1)); done; }

# Processes. No program is started to look at one: a node has hundreds.
pids_in() { # UID-OR-ID: those whose control groups name it, without the ones of helpers
    other=$(echo "$1" | tr - _) # as systemd writes it
    for folder in /proc/[0-9]*; do
        while read -r line; do
            case $line in
                *"$1"* | *"$other"*)
                    grep -qsz '^DAVIT_MARK=' "$folder/environ" || echo "${folder#/proc/}"
                    break
                    ;;
            esac
        done 2>/dev/null <"$folder/cgroup"
    done 2>/dev/null
}
pids() { pids_in "$CONTAINER"; }
oldest() { # of some: what a container or a pod began with
    found= born=
    for pid in "$@"; do
        line=
        read -r line 2>/dev/null <"/proc/$pid/stat"
        # shellcheck disable=SC2086
        set -- ${line##*) }
        [ $# -ge 20 ] || continue
        if [ -z "$born" ] || [ "${20}" -lt "$born" ]; then found=$pid born=${20}; fi
    done 2>/dev/null
    echo "$found"
}
first() { oldest $(pids); }
# The pod's network outlives its containers, as long as the pod's own first process lives.
world() { oldest $(pids_in "$POD"); }
state() { # of a process: R, S, T, …
    line=
    read -r line 2>/dev/null <"/proc/$1/stat"
    line=${line##*) }
    echo "${line%% *}"
}
ticks() { # of processor time that a process has had
    line=
    read -r line 2>/dev/null <"/proc/$1/stat"
    # shellcheck disable=SC2086
    set -- ${line##*) }
    echo $((${12:-0} + ${13:-0}))
}
carriers() { # what this run left among the node's processes
    for folder in /proc/[0-9]*; do
        pid=${folder#/proc/}
        [ "$pid" != $$ ] && grep -qsz "^DAVIT_CARRIER=$MARK$" "$folder/environ" && echo "$pid"
    done
}

# The container's control groups, of every controller.
groups() { find "$host/sys/fs/cgroup" -maxdepth 10 -type d -name "*$CONTAINER*" ! -name '*conmon*' 2>/dev/null; }
is_inside() { # PID: in all of them
    for group in $(groups); do grep -qsx "$1" "$group/cgroup.procs" || return 1; done
}
ooms() { # how often the kernel has killed in it for want of memory
    set -- /dev/null
    for group in $(groups); do set -- "$@" "$group/memory.oom_control" "$group/memory.events"; done
    cat "$@" 2>/dev/null | sed -n 's/^oom_kill \([0-9]*\)$/\1/p' | sort -n | tail -n 1
}
carry() { # a process in the container's control groups, which knows when to end
    DAVIT_CARRIER=$MARK GROUPS_OF="$(groups)" sh -c '
        for group in $GROUPS_OF; do echo $$ >"$group/cgroup.procs"; done
        eval "$1"' carrier "$1" </dev/null >/dev/null 2>&1 &
}

# The pod's network: our own chain, with the tool of this image or else the node's.
chain=DAVIT-$(echo "$MARK" | sed 's/.*-//')
net() { # PROGRAM ARGUMENTS
    program=$1
    shift
    if command -v "$program" >/dev/null 2>&1; then
        nsenter --net="/proc/$world/ns/net" "$program" -w 5 "$@"
    else
        nsenter --net="/proc/$world/ns/net" chroot "$host" "$program" -w 5 "$@"
    fi
}
programs() { # for the kinds of addresses that the pod has
    echo iptables
    grep -qs '^[0-9a-f]* [0-9a-f]* [0-9a-f]* 00 ' "/proc/$world/net/if_inet6" && echo ip6tables
}
unchain() { # TABLE HOOK…
    table=$1
    shift
    for program in iptables ip6tables; do
        net "$program" -t "$table" -S "$chain" >/dev/null 2>&1 || continue
        for hook in "$@"; do while net "$program" -t "$table" -D "$hook" -j "$chain" 2>/dev/null; do :; done; done
        net "$program" -t "$table" -F "$chain"
        net "$program" -t "$table" -X "$chain"
    done
}
unchained() { # TABLE
    for program in $(programs); do
        rules=$(net "$program" -t "$1" -S) || return 1
        case $rules in *"$chain"*) return 1 ;; esac
    done
}
partition() {
    for program in $(programs); do
        net "$program" -N "$chain" || return 1
        for peer in $(echo "${PEERS:-all}" | tr , ' '); do
            case $program-$peer in
                *-all) net "$program" -A "$chain" -m time --datestop "$stop_at" -j DROP || return 1 ;;
                ip6tables-*:* | iptables-*.*)
                    net "$program" -A "$chain" -s "$peer" -m time --datestop "$stop_at" -j DROP &&
                        net "$program" -A "$chain" -d "$peer" -m time --datestop "$stop_at" -j DROP || return 1
                    ;;
            esac
        done
    done
    for program in $(programs); do
        net "$program" -I INPUT -j "$chain" && net "$program" -I OUTPUT -j "$chain" || return 1
    done
}
latency() { # AMOUNT is milliseconds:port; the way of new connections to that port leads through a proxy of ours
    milliseconds=${AMOUNT%:*} port=${AMOUNT#*:}
    DAVIT_CARRIER=$MARK nsenter --net="/proc/$world/ns/net" davit carrier proxy --listen 0.0.0.0:0 \
        --to "$ADDRESS:$port" --latency "${milliseconds}ms" --for "${LASTS}s" >/tmp/proxy 2>&1 </dev/null &
    carrier=$!
    # A node that is busy takes its time to start it.
    for again in $(seq_to 300); do
        if [ -s /tmp/proxy ] || ! kill -0 "$carrier" 2>/dev/null; then break; fi
        sleep 0.1
    done
    door=$(sed -n 's/^listens at .*:\([0-9]*\)$/\1/p' /tmp/proxy)
    [ -n "$door" ] || { say "the proxy does not listen: $(cat /tmp/proxy)"; return 1; }
    net iptables -t nat -N "$chain" &&
        net iptables -t nat -A "$chain" -p tcp --dport "$port" -m time --datestop "$stop_at" -j REDIRECT --to-ports "$door" &&
        net iptables -t nat -I PREROUTING ! -i lo -j "$chain"
}

# The ballast, where the container sees the folder. A link in the way would lead out of the container's world.
is_plain() { # PID
    path=/proc/$1/root
    case $WHERE in *..*) return 1 ;; esac
    for part in $(echo "$WHERE" | tr / ' '); do
        path=$path/$part
        [ -d "$path" ] && [ ! -L "$path" ] || return 1
    done
}
ballasts() { # in the world of any process of the pod: its container may have been started again
    for pid in $(pids_in "$POD"); do
        [ ! -e "/proc/$pid/root$WHERE/davit-$MARK" ] || echo "/proc/$pid/root$WHERE/davit-$MARK"
    done
}
disk() {
    pid=$(first)
    is_plain "$pid" || { say "$WHERE is no plain folder in the container"; return 1; }
    folder=/proc/$pid/root$WHERE
    room=$(stat -f -c '%a %S' "$folder" | { read -r blocks size && echo $((blocks * size / 1048576)); })
    [ "$((room - FLOOR))" -ge "$AMOUNT" ] || { say "$room MiB are free in $WHERE, and $FLOOR of them are left alone"; return 1; }
    dd if=/dev/zero of="$folder/davit-$MARK" bs=1M count="$AMOUNT" conv=excl 2>/dev/null
    [ -s "$folder/davit-$MARK" ]
}

heal() {
    world=$(world)
    case $WHAT in
        stop) for pid in $(pids); do kill -CONT "$pid" 2>/dev/null; done ;;
        cpu | memory) for pid in $(carriers); do kill -KILL "$pid" 2>/dev/null; done ;;
        disk) for file in $(ballasts); do rm -f "$file"; done ;;
        partition) [ -z "$world" ] || unchain filter INPUT OUTPUT ;;
        latency)
            if [ -n "$world" ]; then
                while net iptables -t nat -D PREROUTING ! -i lo -j "$chain" 2>/dev/null; do :; done
                unchain nat
            fi
            for pid in $(carriers); do kill -KILL "$pid" 2>/dev/null; done
            ;;
    esac
    return 0
}
check() { # 0 if nothing of this run is left
    world=$(world)
    case $WHAT in
        stop) for pid in $(pids); do [ "$(state "$pid")" != T ] || return 1; done ;;
        cpu | memory) [ -z "$(carriers)" ] ;;
        disk)
            # A pod whose one process is its first has no container now that could show the folder.
            # shellcheck disable=SC2046
            set -- $(pids_in "$POD")
            [ $# != 1 ] && [ -z "$(ballasts)" ]
            ;;
        partition) [ -z "$world" ] || unchained filter ;;
        latency) [ -z "$(carriers)" ] && { [ -z "$world" ] || unchained nat; } ;;
        gone) [ -z "$(pids_in "$POD")" ] ;;
        *) true ;;
    esac
}
settled() { # healing takes the kernel a moment
    for again in $(seq_to 20); do check && return 0; heal; sleep 0.3; done
    return 1
}
inject() {
    world=$(world)
    stop_at=$(date -u -d "@$ends" +%Y-%m-%dT%H:%M:%S)
    case $WHAT in
        kill) kill -"$AMOUNT" "$(first)" ;;
        stop) for pid in $(pids); do kill -STOP "$pid" || return 1; done ;;
        cpu)
            for number in $(seq_to "$AMOUNT"); do
                carry 'while [ "$(date +%s)" -lt '"$ends"' ]; do i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; done'
            done
            ;;
        memory)
            ooms_before=$(ooms)
            # What reads nothing keeps the writer, and the piece that it holds.
            carry 'dd if=/dev/zero bs='"$AMOUNT"'M count=1 2>/dev/null | sleep $(('"$ends"' - $(date +%s)))'
            ;;
        disk) disk ;;
        partition) partition ;;
        latency) latency ;;
    esac
}
seen() { # what shows that it took effect; nothing if it did not
    case $WHAT in
        stop)
            all=0
            for pid in $(pids); do
                all=$((all + 1))
                [ "$(state "$pid")" = T ] || return
            done
            [ $all -gt 0 ] && echo "all $all processes of the container are stopped"
            ;;
        cpu)
            count=0 used=0
            for pid in $(carriers); do
                is_inside "$pid" || continue
                spent=$(ticks "$pid")
                [ "$spent" -gt 0 ] && count=$((count + 1)) used=$((used + spent))
            done
            [ $count -ge "$AMOUNT" ] && echo "$count busy processes in the container's control group had $used ticks of processor time"
            ;;
        memory)
            for pid in $(carriers); do
                kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
                [ "${kib:-0}" -ge $((AMOUNT * 900)) ] && is_inside "$pid" || continue
                echo "a process in the container's control group holds $kib KiB"
                return
            done
            killed=$(ooms)
            [ "${killed:-0}" -gt "${ooms_before:-0}" ] && echo "the kernel killed in the container's control group for want of memory"
            ;;
        disk)
            for file in $(ballasts); do
                echo "$(stat -c %s "$file") bytes of ballast lie in the container, $(stat -f -c '%a blocks of %S bytes' "$file") are free"
                return
            done
            ;;
        partition)
            for program in $(programs); do net "$program" -L "$chain" -n -v -x; done |
                sed -n 's/^ *\([1-9][0-9]*\) .*DROP.*/\1 packets were dropped by our own chain/p' | sed -n 1p
            ;;
        latency)
            [ -n "$(carriers)" ] && net iptables -t nat -L "$chain" -n -v -x |
                sed -n 's/^ *\([1-9][0-9]*\) .*REDIRECT.*/\1 new connections were led through the proxy/p' | sed -n 1p
            ;;
    esac
}

case $MODE in
    check)
        while [ "$WHAT" = gone ] && ! check && [ "$(now)" -lt "$LATEST" ]; do sleep 0.2; done
        check
        ;;
    heal) heal; settled ;;
    hold)
        trap 'heal; exit 0' TERM INT
        heal
        [ -n "$(first)" ] || { say "the container is not on this node"; exit 3; }
        while [ ! -e $word ]; do
            [ "$(now)" -lt "$LATEST" ] || exit 0
            sleep 0.1
        done
        ends=$(($(now) + LASTS))
        if ! inject 2>/tmp/said; then
            heal
            [ -s /tmp/said ] || echo "what it takes could not be done on this node" >/tmp/said
            # Who ends is started again, which forgets: it stays until its runner has heard why.
            { printf 'refused: ' && tail -n 3 /tmp/said; } >$evidence.new && mv $evidence.new $evidence
            while [ "$(now)" -lt $ends ]; do sleep 0.2; done
            exit 4
        fi
        while [ "$(now)" -lt $ends ]; do
            if [ ! -s $evidence ]; then seen >$evidence.new 2>/dev/null; [ ! -s $evidence.new ] || mv $evidence.new $evidence; fi
            sleep 0.2
        done
        heal
        settled
        ;;
esac
