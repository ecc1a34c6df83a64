"""A moving picture like a video call: a head that sways, blinks and talks before a room, with a self-view.

Drawn by ffmpeg alone, so no picture of anybody is needed. The stills are computed once and moved about, which
keeps it many times faster than real time.
"""

from __future__ import annotations

FPS = 30
COAT = (52, 78, 120)  # red, green, blue: what the speaker wears, at the lower edge of the picture

# Pixel formulas for ffmpeg's `geq`: (X, Y) from the still's upper left corner, W and H its size.
_ROOM = "r='120+60*Y/H':g='130+50*X/W':b='150+30*sin(X/40)'"
_INSIDE = "lt(pow((X-W/2)/(W/2),2)+pow((Y-H/2)/(H/2),2),1)"
_HAIR = "lt(Y,H*0.22+H*0.05*sin(X/9))"
_HEAD = f"r='if({_HAIR},60,224)':g='if({_HAIR},42,172)':b='if({_HAIR},30,140)':a='255*{_INSIDE}'"


def _still(name: str, *, size: str, formula: str) -> str:
    return (
        f"color=black:s={size}:r={FPS}:d=0.04,format=rgba,geq={formula},"
        f"loop=loop=-1:size=1,setpts=N/({FPS}*TB)[{name}]"
    )


def _ellipse(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return f"r={red}:g={green}:b={blue}:a='255*{_INSIDE}'"


def talking_head(*, label: str = "v", noise: int = 5) -> str:
    """Return a filter graph of 640x360 at 30 frames a second without an end; its output pad is `[label]`.

    `noise` is the camera's grain (0…100): more of it makes a larger file.
    """
    sway, nod = "14*sin(t*0.9)+4*sin(t*2.3)", "5*sin(t*1.7)"
    talks = "gt(sin(t*9)+0.6*sin(t*23),0)*gt(sin(t*0.55),-0.5)"
    blinks = "gt(mod(t,3.1),0.15)"
    parts = [
        _still("room", size="640x360", formula=_ROOM),
        _still("body", size="320x150", formula=_ellipse(COAT)),
        _still("head", size="150x200", formula=_HEAD),
        _still("eyes", size="14x10", formula=_ellipse((30, 30, 40))),
        _still("mouth", size="44x22", formula=_ellipse((120, 30, 40))),
        "[eyes]split[left][right]",
        f"[room][body]overlay=x='160+{sway}/2':y=265[a]",
        f"[a][head]overlay=x='245+{sway}':y='85+{nod}'[b]",
        f"[b][left]overlay=x='285+{sway}':y='165+{nod}':enable='{blinks}'[c]",
        f"[c][right]overlay=x='341+{sway}':y='165+{nod}':enable='{blinks}'[d]",
        f"[d][mouth]overlay=x='298+{sway}':y='232+{nod}':enable='{talks}'[e]",
        "[e]format=yuv420p,split[main][copy]",
        "[copy]scale=128:72,hue=h=15:s=0.7,hflip[self]",
        f"[main][self]overlay=x=500:y=276,noise=alls={noise}:allf=t[{label}]",
    ]
    return ";".join(parts)
