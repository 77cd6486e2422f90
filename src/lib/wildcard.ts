/** Patterns in which `*` matches any text. */

/**
 * Returns whether the whole text matches the pattern; `*` matches any text without the characters
 * `barred`.
 *
 * Regular expressions are not used: patterns and texts come from clients, and the time of a regular
 * expression with several wildcards grows with a power of the text's length. This function takes at most
 * the product of both lengths.
 */
export function wildcardFits(pattern: string, text: string, barred = ""): boolean {
  let [inPattern, inText] = [0, 0];
  // The position of the last wildcard in the pattern, and the end of the text that it matches.
  let [wildcard, reached] = [-1, 0];
  while (inText < text.length) {
    if (pattern[inPattern] === "*") {
      wildcard = inPattern++;
      reached = inText;
    } else if (pattern[inPattern] === text[inText]) {
      inPattern++;
      inText++;
    } else if (wildcard >= 0 && !barred.includes(text[reached]!)) {
      // Only the last wildcard is extended; extending an earlier one cannot help.
      inPattern = wildcard + 1;
      inText = ++reached;
    } else {
      return false;
    }
  }
  while (pattern[inPattern] === "*") inPattern++;
  return inPattern === pattern.length;
}
