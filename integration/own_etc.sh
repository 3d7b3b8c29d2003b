# Owns a view of this machine for programs that read /etc: sourced, it sets `own_etc`, the arguments
# for bubblewrap that show this machine unchanged, except that /etc/snowplow, /etc/emr-etl-guard and
# /var/lib/emr-etl-guard are empty, writable, and discarded afterwards.
own_etc=()
for entry in /*; do
    if [[ -L $entry ]]; then
        own_etc+=(--symlink "$(readlink "$entry")" "$entry")
    elif [[ $entry != /etc && $entry != /dev && $entry != /var ]]; then
        # /proc is this machine's, too: a container started in here can only have its own if nothing
        # is mounted over parts of this one.
        own_etc+=(--bind "$entry" "$entry")
    fi
done
own_etc+=(--dev-bind /dev /dev --dir /etc --dir /var --dir /var/lib)
for entry in /etc/* /etc/.[!.]* /var/* /var/lib/*; do
    how=--bind
    [[ $entry != /etc/* ]] || how=--ro-bind
    case $entry in
        /etc/snowplow | /etc/emr-etl-guard | /var/lib | /var/lib/emr-etl-guard) ;;
        *)
            if [[ -L $entry ]]; then
                own_etc+=(--symlink "$(readlink "$entry")" "$entry")
            elif [[ -e $entry ]]; then
                own_etc+=("$how" "$entry" "$entry")
            fi
            ;;
    esac
done
own_etc+=(--tmpfs /etc/snowplow --tmpfs /etc/emr-etl-guard --tmpfs /var/lib/emr-etl-guard --die-with-parent)
