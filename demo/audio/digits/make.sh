#!/bin/sh
# Makes the spoken digits of this folder: 0.ulaw to 9.ulaw, G.711 mu-law without
# a header. It needs eSpeak NG and SoX.
set -eu
cd "$(dirname "$0")"
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
n=0
for word in zero one two three four five six seven eight nine; do
	espeak-ng -v en-us+m3 -s 120 -p 40 -w "$raw" "$word."
	sox -D -t wav "$raw" -r 8000 -c 1 -t raw -e mu-law -b 8 $n.ulaw \
		highpass 200 silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse norm -6
	n=$((n + 1))
done
