"""A list of English function words (the, of, have, very, two ...), in lower case.

With the param `tagger: rules`, the encoder `text/kwrt` takes every word outside this list as a content word.
"""

from typing import Final

_CLASSES: Final = {
    "articles and determiners": """
        a an the this that these those some any no every each either neither both all half another other others such
        what which whatever whichever many much more most few fewer little less least several enough own same""",
    "pronouns": """
        i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself
        we us our ours ourselves they them their theirs themselves who whom whose whoever one ones oneself
        someone somebody something anyone anybody anything everyone everybody everything nobody none nothing""",
    "prepositions": """
        about above across after against along among amongst around as at before behind below beneath beside besides
        between beyond by despite down during except for from in inside into like near of off on onto out outside over
        past per since through throughout till to toward towards under underneath until unto up upon via with within
        without""",
    "conjunctions": """
        and but or nor so yet if unless although though because while whereas whether than lest once when whenever
        where wherever why how however therefore thus hence otherwise""",
    "auxiliaries": """
        be am is are was were been being have has had having do does did done doing will would shall should can could
        may might must ought ca wo sha ain cannot gonna wanna gotta let""",
    "verbs of little meaning": """
        get gets got gotten getting go goes going gone went make makes made making put puts take takes took say says
        said seem seems seemed keep keeps kept""",
    "adverbs and particles": """
        not n't too very quite rather really just only even also still already again ever never always often sometimes
        almost maybe perhaps well now then here there anyway else away back together instead indeed soon later
        anywhere somewhere everywhere nowhere somehow actually please""",
    "interjections": """
        oh ah uh um er hey hi hello yes yeah yep no nope ok okay wow hmm huh mm ooh aw ha whoa yay ugh ew""",
    "numbers": """
        zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
        eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion
        first second third""",
}
FUNCTION_WORDS: Final = frozenset(word for words in _CLASSES.values() for word in words.split())
