// Cleaning of a text before the model reads it: the rules of stages/cleaning, with its tables of characters (demo.json).

const PASSES = 50, LONGEST_WORD = 64, ESCAPES = 4;  // as in stages/cleaning/rules.py and markup.py

// clean(text), by the `cleaning` of model.json; `tables` are those of flows/demo/tables.py.
export function cleaner(cleaning, tables) {
  const rules = cleaning.rules.map(name => RULES[name](patterns(tables.classes), tables, cleaning));
  return text => {
    for (let pass = 0; pass < PASSES; pass++) {
      const before = text;
      for (const rule of rules) text = rule(text);
      text = cut(text, cleaning.max_chars, tables.classes.space);
      if (text === before) break;
    }
    return text;
  };
}
// What every rule may need: a class by its name, and the edge of a word of these characters.
function patterns(classes) {
  const of = name => `[${classes[name]}]`;
  const edge = name => `(?:(?<!${of(name)})(?=${of(name)})|(?<=${of(name)})(?!${of(name)}))`;
  return {classes, of, edge};
}
// Characters are those of Unicode, and a string of JavaScript has units of UTF-16.
function cut(text, most, space) {
  if (text.length <= most) return text;
  const letters = Array.from(text);
  if (letters.length <= most) return text;
  const isSpace = new RegExp(`^[${space}]$`, "u");
  for (let at = most; at > Math.max(0, most - LONGEST_WORD - 1); at--) {
    if (isSpace.test(letters[at])) return letters.slice(0, at).join("").replace(new RegExp(`[${space}]+$`, "u"), "");
  }
  return letters.slice(0, most).join("");
}
const replaced = (pattern, flags, by) => {
  const compiled = new RegExp(pattern, "gu" + flags);
  return text => text.replace(compiled, by);
};
// Of what this version of Unicode knows; a browser may know more.
const known = ({of}, change) => replaced(`${of("unassigned").replace("[", "[^")}+`, "", part => change(part));
const mask = (pattern, flags, name) => (parts, _, cleaning) => replaced(pattern(parts), flags, () => cleaning.masks[name]);
// Python's `regex` takes the capital i with a dot for an i where case is ignored.
const dotted = letters => letters.replaceAll("i", "[iİ]");

const RULES = {
  unicode_nfc: parts => known(parts, text => text.normalize("NFC")),
  unicode_nfkc: parts => known(parts, text => text.normalize("NFKC")),
  invisible_characters: (parts, tables) => invisible(parts, tables),
  html_markup: (parts, tables) => markup(parts, tables),
  white_space: ({of}) => {
    const runs = new RegExp(`${of("space")}+`, "gu");
    return text => text.replace(runs, " ").replace(/^ | $/g, "");
  },
  mask_urls: mask(({classes: {blank}}) =>
    `(?<![a-zİ0-9])(?:https?://|ftp://|www\\.)[^${blank}<>"'\`]*[^${blank}<>"'\`.,;:!?)\\]}]`, "i", "url"),
  mask_emails: mask(({classes: {address_letters: letters, digits}}) =>
    `[${letters}${digits}_][${letters}${digits}_.%+'\\-]{0,63}@(?:[${letters}${digits}\\-]{1,63}\\.){1,8}[${letters}]{2,24}`,
    "", "email"),
  mask_phone_numbers: ({of, edge}, _, {masks}) => {
    const d = of("decimal"), b = edge("word"), between = "(?: ?[/–\\-] ?|[ .])";
    const pattern = `\\(?\\+${d}{1,15}\\)?(?:(?:${between}?\\(${d}{1,5}\\)${between}?|${between})${d}{1,15}){0,8}(?!${d}|[.,]${d}| ?%)`
      + `|\\(0${d}{1,4}\\)${between}?${d}{1,15}(?:${between}${d}{1,15}){0,5}(?!${d})`
      + `|\\(${d}{2,5}\\)[ ./\\-]?${d}{3,4}(?:[ ./\\-]?${d}{2,5}){1,4}${b}`
      + `|${b}(?:1[ .\\-])?${d}{3}[ .\\-]${d}{3}[ .\\-]${d}{4}${b}`;
    const groups = new RegExp(`${d}+`, "gu");
    const isNumber = found => {
      const sizes = found.match(groups).map(group => Array.from(group).length), all = sizes.reduce((one, other) => one + other);
      return all >= 8 || all === 7 && Math.max(...sizes) >= 3;
    };
    return replaced(pattern, "", found => isNumber(found) ? masks.phone_number : found);
  },
  mask_numbers: mask(({of, edge}) => {
    const d = of("decimal"), b = edge("word");
    return `${b}${d}+(?:[.,:]${d}+)*(?:[eE][+\\-]?${d}+)?${b}`;
  }, "", "number"),
  lower_case: parts => known(parts, text => text.toLowerCase()),
  no_digits: ({of}) => replaced(`${of("digits")}+`, "", ""),
  no_punctuation: ({of}) => {
    const apostrophes = replaced(`(?<=${of("letters")})['\\u2019](?=${of("letters")})`, "", "");
    const rest = replaced(`${of("punctuation")}+`, "", " ");
    return text => rest(apostrophes(text));
  },
  no_stop_words: ({edge}, _, {stop_words: words}) => {
    const escaped = ordered(words).map(word => dotted(word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")));
    return replaced(`${edge("word")}(?:${escaped.join("|")})${edge("word")}`, "i", "");
  },
};
// The longest first; which of two as long comes first makes no difference.
const ordered = words => [...words].sort((a, b) => Array.from(b).length - Array.from(a).length);

// Of stages/core/unseen.py. A black flag and the tags that say whose it is stay.
const FLAG = "\\u{1f3f4}[\\u{e0030}-\\u{e0039}\\u{e0061}-\\u{e007a}]{2,6}\\u{e007f}";
const JOINERS = /[\u200c\u200d\u180e]/, FILLERS = /[\u115f\u1160]/;
const SELECTORS = /^[\u180b-\u180d\u180f\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;
const OLD_HANGUL = /^[\u1100-\u115e\u1161-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]/;
const MIXED_UP = /[\x80-\x84\x86-\x9f]/;

function invisible({of}, {windows}) {
  const runs = new RegExp(`${FLAG}|${of("hidden")}+`, "gu");
  const letter = new RegExp(`^${of("joining")}`, "u"), picture = new RegExp(`^${of("pictures")}`, "u");
  const space = new RegExp(`^${of("space")}`, "u");
  const joins = (joiner, before, after) => joiner === "\u200d"
    ? letter.test(before) || letter.test(after) || picture.test(before) && picture.test(after)
    : letter.test(before) && letter.test(after);
  const marks = (character, before, after) => FILLERS.test(character)
    ? OLD_HANGUL.test(before) || OLD_HANGUL.test(after)
    : SELECTORS.test(character) && before !== "" && !space.test(before);
  return text => {
    if (MIXED_UP.test(text)) text = text.replace(/[\x80-\x9f]/g, control => windows[control]);
    return text.replace(runs, (run, at) => {
      if (run.startsWith("\u{1f3f4}")) return run;
      const before = lastOf(text.slice(Math.max(at - 2, 0), at));
      const after = Array.from(text.slice(at + run.length, at + run.length + 2))[0] ?? "";
      const letters = Array.from(run), joiner = letters.find(one => JOINERS.test(one)) ?? "";
      return letters.filter(one => marks(one, before, after)).join("") + (joiner && joins(joiner, before, after) ? joiner : "");
    });
  };
}
const lastOf = text => Array.from(text).at(-1) ?? "";

// Of stages/cleaning/markup.py.
function markup({classes: {space, word_of_markup: word}, of, edge}, {blocks, inlines, left_open, bare_attributes, entities, numbers}) {
  const i = letters => letters.replaceAll("i", "[iı]");  // Python's `re` takes these for one where case is ignored
  const element = i([...blocks, ...inlines].join("|"));
  const valued = `[a-zİı_:@][${word}:.\\-]*[${space}]*=[${space}]*(?:"[^"]*"|'[^']*'|[^${space}"'=<>\`]+)`;
  const tags = new RegExp(`<(?:(?<end>/)(?<ended>${element})[${space}]*|(?<begun>${element})`
    + `(?<attributes>(?:[${space}]+(?:${valued}|(?:${i(bare_attributes)})(?![${word}=\\-])))*)[${space}]*/?)>`, "giu");
  const around = name => [new RegExp(`<${i(name)}${edge("word_of_markup")}[^<>]*>`, "giu"), new RegExp(`</${i(name)}[${space}]*>`, "giu")];
  const parted = [[/<!--/g, /-->/g], around("script"), around("style")];
  const bare = new RegExp(`(?<![&#])#(?:3[4689]|8(?:2(?:1[1267]|2[016]|30)));|(?<![${word}&#;])(?:quot|apos|nbsp|amp);`, "gu");
  const entity = /&(?:(?:amp|#0*38|#x0*26);)*(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});/g;
  const escaped = /&(?:(?:amp|#0*38|#x0*26);)+(?=[#A-Za-z])/gi;
  const mayStay = new RegExp(`^${of("may_stay")}`, "u"), hidden = new RegExp(of("hidden"), "gu");
  const isBlock = new Set(blocks), isOpen = new Set(left_open);

  const numbered = digits => {
    const number = /^x/i.test(digits) ? parseInt(digits.slice(1), 16) : parseInt(digits, 10);
    if (number > 0x10ffff || number >= 0xd800 && number <= 0xdfff) return "\ufffd";
    return numbers[number] ?? String.fromCodePoint(number);
  };
  const character = found => {
    const single = found.replace(escaped, "&"), name = single.slice(1);
    if (name[0] !== "#" && !Object.hasOwn(entities, name)) return single;
    const one = name[0] === "#" ? numbered(name.slice(1, -1)) : entities[name];
    return mayStay.test(one) ? one : one.replace(hidden, "");
  };
  const untagged = text => {
    const lastEnd = new Map();
    for (const tag of text.matchAll(tags)) if (tag.groups.end) lastEnd.set(tag.groups.ended.toLowerCase(), tag.index);
    return text.replace(tags, (tag, ...rest) => {
      const {end, ended, begun, attributes} = rest.at(-1), at = rest.at(-3), name = (ended ?? begun).toLowerCase();
      if (!end && !isOpen.has(name) && !attributes && (lastEnd.get(name) ?? -1) <= at) return tag;
      return isBlock.has(name) ? " " : "";
    });
  };
  return text => {
    for (let pass = 0; pass < ESCAPES; pass++) {
      const before = text;
      for (const [opening, closing] of parted) text = without(text, opening, closing);
      text = untagged(text).replace(entity, character)
        .replace(bare, one => one[0] === "#" ? numbered(one.slice(1, -1)) : entities[one]);
      if (text === before) break;
    }
    return text;
  };
}
// A space in place of each part from an opening to the next closing.
function without(text, opening, closing) {
  const parts = [];
  let at = 0;
  for (;;) {
    opening.lastIndex = at;
    const begin = opening.exec(text);
    if (begin === null) break;
    closing.lastIndex = opening.lastIndex;
    const end = closing.exec(text);
    if (end === null) break;
    parts.push(text.slice(at, begin.index), " ");
    at = closing.lastIndex;
  }
  return parts.length ? parts.join("") + text.slice(at) : text;
}
