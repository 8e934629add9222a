# What a text consists of: sentences, words, how often, how long. The answer goes out as jsonlite writes a data frame.

library(jsonlite)

handler <- function(event, context) {
  text <- event$text
  sentences <- trimws(strsplit(text, "[.!?]+", perl = TRUE)[[1]])
  sentences <- sentences[sentences != ""]
  words <- unlist(regmatches(text, gregexpr("[\\p{L}\\p{N}']+", text, perl = TRUE)))
  counts <- table(tolower(words))
  # The most frequent first, in alphabetical order where they are equally frequent.
  counts <- counts[order(-counts, names(counts))]
  top <- head(counts, event$top)
  per_sentence <- lengths(gregexpr("[\\p{L}\\p{N}']+", sentences, perl = TRUE))
  statistics <- list(
    characters = nchar(text),
    sentences = length(sentences),
    words = length(words),
    distinct_words = length(counts),
    mean_word_length = round(mean(nchar(words)), 2),
    median_sentence_words = median(per_sentence),
    top = data.frame(word = names(top), count = as.vector(top))
  )
  toJSON(statistics, auto_unbox = TRUE, digits = NA)
}
