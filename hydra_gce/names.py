"""Names of sweeps: two words that a person can say, such as ``calm-otter``."""

from __future__ import annotations

from random import Random

_MANNERS = """
    able brave brisk calm clear clever cosy deft eager early fair fast fine firm fond fresh gentle glad golden good
    grand happy hardy humble jolly keen kind large light lively lucky lunar merry mild modest neat nimble noble odd
    plain proud quick quiet rapid rare ready rich royal sharp shy silent silver simple sly smart smooth snug soft
    solid sound spry steady still strong sunny sure swift tall tame tidy tiny trim true warm wary wild wise witty
"""
_ANIMALS = """
    adder ant badger bat bear beaver bee bison boar bream bunting buzzard camel carp cat crab crane cricket crow
    curlew deer dingo dolphin dove duck eagle eel egret elk falcon ferret finch fox frog gecko gibbon goat goose
    grouse gull hare hawk hedgehog heron hornet horse ibex ibis jackal jay kestrel kite koala lamb lark lemur lion
    lizard llama lynx magpie mole moose moth mouse newt ocelot osprey otter owl panda perch pigeon pike plover pony
    puffin quail rabbit raven robin rook salmon seal shark shrew skunk sloth snail snipe sparrow squid stoat stork
    swan swift tapir tern thrush tiger toad trout tuna turtle viper vole wasp weasel whale wolf wombat wren yak zebra
"""


def sweep_name(random: Random) -> str:
    """Short enough for labels and VM names; whether it is taken, the bucket knows."""
    return f"{random.choice(_MANNERS.split())}-{random.choice(_ANIMALS.split())}"


def is_sweep_name(text: str) -> bool:
    """Whether ``sweep_name`` may have given it."""
    manner, _, animal = text.partition("-")
    return manner in _MANNERS.split() and animal in _ANIMALS.split()
