# A real workload that behaves as its arguments say: the behaviours of simulations/sim-workload.ts, for the conformance body.
# Counts its launches in a file of its working directory.
launches=0
[ -f launches ] && read -r launches < launches
echo $((launches + 1)) > launches

pause() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }

for word in "$@"; do
  rest=${word#*:}
  what=${rest%@*}
  delay=${rest##*@}
  case $word in
    print:*) printf '%s\n' "$rest" ;;
    warn:*) printf '%s\n' "$rest" >&2 ;;
    partial:*) printf '%s' "$rest" ;;
    after:*) pause "$rest" ;;
    exit:*) pause "$delay"; exit "$what" ;;
    signal:*) pause "$delay"; kill -"${what#SIG}" $$ ;;
    crash-then-run:*) if [ "$launches" -lt "$what" ]; then pause "$delay"; exit 1; else exec sleep 1000; fi ;;
    hang-on-term) trap '' TERM ;;
    copy) cat ;;
    run) exec sleep 1000 ;;
    *) echo "no such behaviour: $word" >&2; exit 99 ;;
  esac
done
# hang-on-term as the last word: deaf for good.
case $word in hang-on-term) while :; do sleep 1000; done ;; esac
