/** Patterns in which `*` stands for any text. */

/**
 * Whether the whole text fits the pattern; `*` stands for any text without one of the characters `barred`.
 *
 * Not a regular expression: patterns and texts come from clients, and the time that one with several
 * wildcards takes grows with a power of the text's length. This takes at most the product of both lengths.
 */
export function wildcardFits(pattern: string, text: string, barred = ""): boolean {
  let [inPattern, inText] = [0, 0];
  // The last wildcard, and up to where it stands for the text.
  let [wildcard, reached] = [-1, 0];
  while (inText < text.length) {
    if (pattern[inPattern] === "*") {
      wildcard = inPattern++;
      reached = inText;
    } else if (pattern[inPattern] === text[inText]) {
      inPattern++;
      inText++;
    } else if (wildcard >= 0 && !barred.includes(text[reached]!)) {
      // Only the last wildcard can take more: where an earlier one did, that one would stand further on.
      inPattern = wildcard + 1;
      inText = ++reached;
    } else {
      return false;
    }
  }
  while (pattern[inPattern] === "*") inPattern++;
  return inPattern === pattern.length;
}
