#!/bin/sh
# State of a PBS job, also of one that has ended (-x).
state=$(qstat -x -f "$1" | sed -n 's/ *\(job_state\|Exit_status\) = //p' | tr '\n' ' ')
case "$state" in
"F 0 ") echo success ;;
F* | "") echo failed ;;
*) echo running ;;
esac
